# The templates as a user meets them: the component `kernel` installed alone into an empty folder, the template's
# folder as a project of its own that finds it, then the program's verdict on what was built. Fails where the header
# needs anything else, where a glue is longer than 20 lines, and where a template is wrong or lets another pass.
#   cmake -Dbuild=... -Dprogram=... -Dtemplate=... -Dc=... -Dcxx=... -Dgenerator=... -P template.cmake
cmake_minimum_required(VERSION 3.22)

set(work "${build}/template_tests")
file(REMOVE_RECURSE "${work}")

function(run)
  execute_process(COMMAND ${ARGN} RESULT_VARIABLE code OUTPUT_VARIABLE out ERROR_VARIABLE err)
  set(code ${code} PARENT_SCOPE)
  set(out "${out}${err}" PARENT_SCOPE)
endfunction()
function(must)
  run(${ARGN})
  if(NOT code EQUAL 0)
    message(FATAL_ERROR "${ARGN}: ${code}\n${out}")
  endif()
  set(out "${out}" PARENT_SCOPE)
endfunction()

must("${CMAKE_COMMAND}" --install "${build}" --component kernel --prefix "${work}/prefix")
file(GLOB_RECURSE installed RELATIVE "${work}/prefix" "${work}/prefix/*")
foreach(file ${installed})
  if(NOT file MATCHES "normproof/(kernel|simple)\\.h$|cmake/normproof/normproof(Config|ConfigVersion|_kernel_targets)\\.cmake$")
    message(FATAL_ERROR "the header does not install alone: ${file}")
  endif()
endforeach()

foreach(source batch_norm.c batch_norm.cpp batch_norm.cu)
  file(READ "${template}/${source}" text)
  string(REGEX REPLACE "^.*\n(/\\* glue \\*/|// glue)\n" "" glue "${text}")
  string(REGEX REPLACE "\n\n+" "\n" glue "${glue}")
  string(REGEX MATCHALL "\n" lines "${glue}")
  list(LENGTH lines count)
  if(glue STREQUAL text OR count GREATER 20)
    message(FATAL_ERROR "${source}: its glue is ${count} lines long, more than 20")
  endif()
  message("${source}: ${count} lines of glue")
endforeach()

must("${CMAKE_COMMAND}" -S "${template}" -B "${work}/build" -G "${generator}" "-DCMAKE_PREFIX_PATH=${work}/prefix"
     "-DCMAKE_C_COMPILER=${c}" "-DCMAKE_CXX_COMPILER=${cxx}" -DCMAKE_BUILD_TYPE=Release
     "-DCMAKE_C_FLAGS=-Wall -Wextra -Wpedantic -Werror" "-DCMAKE_CXX_FLAGS=-Wall -Wextra -Wpedantic -Werror -Wno-missing-field-initializers")
must("${CMAKE_COMMAND}" --build "${work}/build")

foreach(name c cpp)
  must("${program}" check "${work}/build/batch_norm_${name}.so" --dtype f32 --layout contiguous)
  if(NOT out MATCHES "PASS template\\.${name}" OR NOT out MATCHES "CONFORMS")
    message(FATAL_ERROR "no verdict on the template:\n${out}")
  endif()
endforeach()

# The device's kernel is compiled where there is a compiler; without a device it is skipped, with its reason.
if(EXISTS "${work}/build/batch_norm_cuda.so")
  run("${program}" check "${work}/build/batch_norm_cuda.so" --dtype f32 --layout contiguous)
  if(NOT code EQUAL 4 AND NOT code EQUAL 0)
    message(FATAL_ERROR "the CUDA template: ${code}\n${out}")
  endif()
  message("batch_norm.cu: compiled")
else()
  message("batch_norm.cu: no CUDA compiler")
endif()

# And the trial sees a slip in one: eps forgotten.
file(READ "${template}/batch_norm.c" text)
string(REPLACE "squares / n + eps" "squares / n" wrong "${text}")
if(wrong STREQUAL text)
  message(FATAL_ERROR "the slip was not made")
endif()
file(WRITE "${work}/wrong/batch_norm.c" "${wrong}")
must("${c}" -std=c11 -O2 -shared -fPIC "-I${work}/prefix/include" "${work}/wrong/batch_norm.c" -o "${work}/wrong.so" -lm)
run("${program}" check "${work}/wrong.so" --dtype f32 --layout contiguous)
if(NOT code EQUAL 1)
  message(FATAL_ERROR "a wrong template ended with ${code}\n${out}")
endif()
