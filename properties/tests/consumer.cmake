# The package as somebody else uses it: everything installed into an empty folder, a project of its own that finds it,
# its test program run, its XML read. Fails where the package lacks anything, where a conforming kernel fails, where a
# wrong one passes, or where no clause is recorded.
#   cmake -Dbuild=... -Dsource=.../consumer -Dtemplate=... -Dc=... -Dcxx=... -Dgenerator=... -Dhints=... -P consumer.cmake
cmake_minimum_required(VERSION 3.22)

set(work "${build}/consumer_tests")
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
endfunction()

must("${CMAKE_COMMAND}" --install "${build}" --prefix "${work}/prefix")
must("${CMAKE_COMMAND}" -S "${source}" -B "${work}/build" -G "${generator}" "-DCMAKE_PREFIX_PATH=${work}/prefix;${hints}"
     "-DTEMPLATE=${template}" "-DCMAKE_C_COMPILER=${c}" "-DCMAKE_CXX_COMPILER=${cxx}" -DCMAKE_BUILD_TYPE=Release)
must("${CMAKE_COMMAND}" --build "${work}/build")
must("${work}/build/mine_tests" "--gtest_output=xml:${work}/mine.xml")

file(READ "${work}/mine.xml" xml)
foreach(part "Mine/Conformance" "template_c_forward_training" "name=\"BN-NUM-1\" value=\"PASS" "name=\"BN-NUM-5\""
             "result=\"skipped\"")
  if(NOT xml MATCHES "${part}")
    message(FATAL_ERROR "no ${part} in the XML:\n${xml}")
  endif()
endforeach()

# The same program with a wrong kernel: eps forgotten.
file(READ "${template}/batch_norm.c" text)
string(REPLACE "squares / n + eps" "squares / n" wrong "${text}")
if(wrong STREQUAL text)
  message(FATAL_ERROR "the slip was not made")
endif()
file(WRITE "${work}/wrong/batch_norm.c" "${wrong}")
must("${CMAKE_COMMAND}" "-DTEMPLATE=${work}/wrong" "${work}/build")
must("${CMAKE_COMMAND}" --build "${work}/build")
run("${work}/build/mine_tests" "--gtest_output=xml:${work}/wrong.xml")
file(READ "${work}/wrong.xml" xml)
if(code EQUAL 0 OR NOT xml MATCHES "name=\"BN-NUM-[0-9]+\" value=\"[0-9]+ FAIL" OR NOT out MATCHES "normproof replay 'np1 ")
  message(FATAL_ERROR "a wrong kernel: ${code}\n${out}")
endif()
