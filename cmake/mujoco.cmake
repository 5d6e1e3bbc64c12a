# Finds MuJoCo (C library and headers) in MUJOCO_DIR and Meta-World's models; scripts/setup_mujoco.py puts both under
# deps/. Sets VIPO_MUJOCO (true if the simulator can be built), the imported target mujoco, MUJOCO_LIBRARY and
# METAWORLD_DIR.
option(VIPO_SIM "build the simulator where MuJoCo is found" ON)
set(MUJOCO_DIR ${PROJECT_SOURCE_DIR}/deps/mujoco-3.3.0 CACHE PATH "MuJoCo: include/ and lib/")
set(METAWORLD_DIR ${PROJECT_SOURCE_DIR}/deps/metaworld-3.1.1 CACHE PATH "Meta-World's models: assets/")

set(VIPO_MUJOCO FALSE)
set(MUJOCO_HEADER ${MUJOCO_DIR}/include/mujoco/mujoco.h)
file(GLOB MUJOCO_LIBRARIES ${MUJOCO_DIR}/lib/libmujoco.so.* ${MUJOCO_DIR}/lib/libmujoco.so)
set(version 0)
if(EXISTS ${MUJOCO_HEADER})
  file(STRINGS ${MUJOCO_HEADER} version REGEX "#define mjVERSION_HEADER")
  string(REGEX MATCH "[0-9]+$" version "${version}")
endif()
if(NOT VIPO_SIM)
  message(STATUS "simulator: off (VIPO_SIM)")
elseif(version GREATER 0 AND version LESS 330)
  message(STATUS "simulator: MuJoCo ${version} in ${MUJOCO_DIR} is too old, expected 330 (3.3.0) or newer (scripts/setup.sh fetches it)")
elseif(NOT version GREATER 0 OR NOT MUJOCO_LIBRARIES)
  message(STATUS "simulator: no MuJoCo in ${MUJOCO_DIR} (scripts/setup.sh fetches it, or set MUJOCO_DIR)")
else()
  set(VIPO_MUJOCO TRUE)
  list(GET MUJOCO_LIBRARIES 0 MUJOCO_LIBRARY)
  message(STATUS "simulator: MuJoCo ${version} in ${MUJOCO_DIR}")
  add_library(mujoco SHARED IMPORTED)
  set_target_properties(mujoco PROPERTIES IMPORTED_LOCATION ${MUJOCO_LIBRARY}
                        INTERFACE_INCLUDE_DIRECTORIES ${MUJOCO_DIR}/include)
endif()
