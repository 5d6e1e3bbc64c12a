# The two commands of the README are `make demo` and `make test`; both install what is missing (Debian),
# and build. Everything is made by CMake: see CMakePresets.json.

# Tests use several threads themselves.
TEST_JOBS ?= 2

.PHONY: build demo test quick sanitize fuzz bench bench-peers bench-layers bench-sim bench-motion install clean help setup

build: setup
	@scripts/build.sh release

demo: build
	@scripts/demo.sh

# Everything CI runs: -C sanitize adds the tests that build and run with sanitizers (tests/CMakeLists.txt).
test:
	@scripts/setup.sh test
	@scripts/build.sh release
	@ctest --test-dir build --output-on-failure --no-tests=error -j $(TEST_JOBS) -C sanitize

quick: build
	@ctest --test-dir build --output-on-failure --no-tests=error -j $(TEST_JOBS) -L "unit|checks"

sanitize: build
	@ctest --test-dir build --output-on-failure --no-tests=error -j $(TEST_JOBS) -C sanitize -L sanitize

# Parsers with made-up input: FUZZ_SECONDS for each of FUZZ_TARGETS (docs/fuzzing.md).
fuzz:
	@scripts/setup.sh fuzz
	@scripts/fuzz.sh

bench: build
	@build/tests/checkop/checkop --bench --shape-file bench/shapes/metaworld-64.txt
	@echo "Beside other engines: make bench-peers, make bench-layers (bench/README.md)"

# Whole network steps of vipo, PyTorch, OpenVINO and ONNX Runtime in turns, and layers beside oneDNN and ncnn.
PEER_MODELS ?= metaworld-64 thor mw
LAYER_MODELS ?= metaworld-64 thor mw
bench-peers: build
	@scripts/setup.sh peers
	@scripts/peers.sh bench/compare_peers.py --models $(PEER_MODELS) $(PEER_OPTIONS)

bench-layers: build
	@scripts/setup.sh peers
	@scripts/peers.sh bench/compare_layers.py --models $(LAYER_MODELS) $(LAYER_OPTIONS)

# The simulator beside Meta-World's Python packages.
bench-sim: build
	@scripts/bench_sim.sh

MOTION_SCENES ?= 40
bench-motion: build
	@build/tests/motion_errors $(MOTION_SCENES)

PREFIX ?= /usr/local
install: build
	@cmake --install build --prefix $(PREFIX)

clean:
	rm -rf build out/demo

setup:
	@scripts/setup.sh

help:
	@echo "make            set up and build build/vipo and build/libvipo.so"
	@echo "make demo       plan and compare samplers on an example, pictures in out/demo"
	@echo "make test       every test, with and without sanitizers, and the checks of the source (what CI runs)"
	@echo "make quick      unit tests and checks only"
	@echo "make sanitize   the tests with sanitizers only: address + undefined, thread"
	@echo "make fuzz       fuzz every parser for FUZZ_SECONDS=600 (FUZZ_TARGETS=\"png torch\": only some)"
	@echo "make bench      time each kernel on the layers of the example model"
	@echo "make bench-sim  time the simulator beside Meta-World's Python packages"
	@echo "make bench-motion  errors and times of rigid motions on made-up scenes (MOTION_SCENES=40)"
	@echo "make bench-peers   network steps of vipo, PyTorch, OpenVINO, ONNX Runtime in turns (PEER_MODELS=\"metaworld-64\")"
	@echo "make bench-layers  each convolution beside oneDNN and ncnn (LAYER_MODELS=\"metaworld-64\")"
	@echo "make install    to PREFIX (/usr/local)"
	@echo "make clean      remove build/ and out/demo/"
