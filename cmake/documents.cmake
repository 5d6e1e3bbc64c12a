# cmake -DVIPO=PROGRAM -DFOLDER=DIR -P documents.cmake: what `vipo help` prints, as files laid out like share/.
# The file `made` comes last.
file(REMOVE_RECURSE ${FOLDER})

function(vipo_help file)
  execute_process(COMMAND ${VIPO} help ${ARGN} OUTPUT_VARIABLE text COMMAND_ERROR_IS_FATAL ANY)
  file(WRITE ${FOLDER}/${file} "${text}")
endfunction()

vipo_help(man/man1/vipo.1 --man)
execute_process(COMMAND ${VIPO} help --json OUTPUT_VARIABLE commands COMMAND_ERROR_IS_FATAL ANY)
string(JSON count LENGTH "${commands}")
math(EXPR last "${count} - 1")
foreach(i RANGE ${last})
  string(JSON name GET "${commands}" ${i} name)
  vipo_help(man/man1/vipo-${name}.1 --man ${name})
endforeach()
vipo_help(bash-completion/completions/vipo --completion bash)
vipo_help(zsh/site-functions/_vipo --completion zsh)
vipo_help(fish/vendor_completions.d/vipo.fish --completion fish)
file(TOUCH ${FOLDER}/made)
