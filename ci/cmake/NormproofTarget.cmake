# How every target of the project is made, so that the folders' CMakeLists.txt stay a few lines each.
#
#   normproof_library(NAME SOURCES file... [DEPENDS target...] [PRIVATE target...] [COMPONENT component])
#       The library normproof::NAME of the folder it is called in: include/ is public, src/ private.
#       Without SOURCES (or with headers only) it is an INTERFACE library. One with a COMPONENT is exported by
#       itself: find_package(normproof COMPONENTS component) then asks for no more than it needs.
#   normproof_module(NAME SOURCES file... [DEPENDS target...] [OPTIONAL])
#       A kernel library lib/NAME.so for dlopen: hidden visibility, nothing exported but what says so.
#   normproof_cuda_module(NAME SOURCES file... [DEPENDS target...] [OPTIONAL])
#       The same from CUDA sources, for the architectures of CMAKE_CUDA_ARCHITECTURES; the runtime is linked in. An
#       OPTIONAL one is built when it is asked for, and not installed.
#   normproof_cuda_target(NAME)
#       Gives any target with CUDA sources the flags of those.
#   normproof_program(NAME SOURCES file... [DEPENDS target...] [INSTALL])
#       The executable bin/NAME.
#   normproof_test(NAME SOURCES file... [DEPENDS target...] [LABELS label...] [TIMEOUT seconds] [RUN_SERIAL] [LAST])
#       A GoogleTest binary bin/NAME with RapidCheck at hand; one CTest test per binary. CTest has it write what it
#       executed to executed/NAME.xml in the build folder, which is emptied when a run of CTest begins. One that is
#       LAST runs after all others and reads that; executed.list there names each binary's sources.
#   normproof_bench(NAME SOURCES file... [DEPENDS target...])
#       A Google Benchmark binary bin/NAME; never part of a test run.
#
# Warnings, -ffp-contract=off and sanitizers are set here, on our targets alone; what we depend on keeps its own.
# DEPENDS of a library are public; PRIVATE ones are not seen by its users.
include_guard(GLOBAL)
include(GNUInstallDirs)

# A designated initialiser leaves out what it means to leave to the defaults: no warning for that.
set(NORMPROOF_WARNINGS -Wall -Wextra -Wpedantic -Wconversion -Wsign-conversion -Wshadow -Wno-missing-field-initializers)
if(CMAKE_CXX_COMPILER_ID STREQUAL "GNU" AND CMAKE_CXX_COMPILER_VERSION VERSION_LESS 13)
  list(APPEND NORMPROOF_WARNINGS -Wno-restrict) # false alarms from std::string there (GCC bug 105651)
elseif(CMAKE_CXX_COMPILER_ID MATCHES "Clang")
  # std::stable_sort of libstdc++ 12 calls what that library declares deprecated; of our own calls g++ warns.
  list(APPEND NORMPROOF_WARNINGS -Wno-deprecated-declarations)
endif()
set(NORMPROOF_SANITIZERS -fsanitize=address,undefined,float-cast-overflow -fno-sanitize-recover=all
                         -fno-omit-frame-pointer)
if(NORMPROOF_FUZZ AND NOT CMAKE_CXX_COMPILER_ID MATCHES "Clang")
  message(FATAL_ERROR "NORMPROOF_FUZZ wants clang, and this is ${CMAKE_CXX_COMPILER_ID}; ci/fuzz sets it up")
endif()

function(normproof_target_options target)
  target_compile_features(${target} PUBLIC cxx_std_20)
  set(host "$<COMPILE_LANGUAGE:C,CXX>") # nvcc has its own warnings and its own --fmad
  # Contraction is off because a fused multiply-add that the source does not ask for changes the answer on trial.
  target_compile_options(${target} PRIVATE "$<${host}:${NORMPROOF_WARNINGS};-ffp-contract=off>"
                                           "$<$<BOOL:${NORMPROOF_WERROR}>:$<${host}:-Werror>>")
  if(NORMPROOF_SANITIZE)
    target_compile_options(${target} PRIVATE "$<${host}:${NORMPROOF_SANITIZERS}>")
    target_link_options(${target} PUBLIC ${NORMPROOF_SANITIZERS})
  endif()
  if(NORMPROOF_FUZZ)
    target_compile_options(${target} PRIVATE "$<${host}:-fsanitize=fuzzer-no-link>")
    target_link_options(${target} PUBLIC -fsanitize=fuzzer-no-link)
  endif()
  if(NORMPROOF_COVERAGE)
    target_compile_options(${target} PRIVATE "$<${host}:--coverage>")
    target_link_options(${target} PUBLIC --coverage)
  endif()
endfunction()

function(normproof_library name)
  cmake_parse_arguments(PARSE_ARGV 1 arg "" "COMPONENT" "SOURCES;DEPENDS;PRIVATE")
  _normproof_check_arguments("normproof_library(${name})")
  set(export normproofTargets)
  set(component "")
  if(arg_COMPONENT)
    set(export "normproof_${arg_COMPONENT}_targets")
    set(component COMPONENT "${arg_COMPONENT}")
    set_property(GLOBAL APPEND PROPERTY NORMPROOF_COMPONENTS "${arg_COMPONENT}")
  endif()
  set(target normproof_${name})
  if(arg_SOURCES)
    add_library(${target} ${arg_SOURCES})
    set(scope PUBLIC)
    normproof_target_options(${target})
    set_target_properties(${target} PROPERTIES POSITION_INDEPENDENT_CODE ON)
    if(IS_DIRECTORY "${CMAKE_CURRENT_SOURCE_DIR}/src")
      target_include_directories(${target} PRIVATE "${CMAKE_CURRENT_SOURCE_DIR}/src")
    endif()
  else()
    add_library(${target} INTERFACE)
    set(scope INTERFACE)
    target_compile_features(${target} INTERFACE cxx_std_20)
  endif()
  add_library(normproof::${name} ALIAS ${target})
  target_include_directories(${target} ${scope} "$<BUILD_INTERFACE:${CMAKE_CURRENT_SOURCE_DIR}/include>"
                                       "$<INSTALL_INTERFACE:${CMAKE_INSTALL_INCLUDEDIR}>")
  target_link_libraries(${target} ${scope} ${arg_DEPENDS})
  if(arg_PRIVATE)
    target_link_libraries(${target} PRIVATE ${arg_PRIVATE})
  endif()
  set_target_properties(${target} PROPERTIES EXPORT_NAME ${name})
  if(IS_DIRECTORY "${CMAKE_CURRENT_SOURCE_DIR}/include")
    install(DIRECTORY include/ DESTINATION "${CMAKE_INSTALL_INCLUDEDIR}" ${component})
  endif()
  install(TARGETS ${target} EXPORT ${export} ARCHIVE ${component})
  set_property(GLOBAL PROPERTY NORMPROOF_EXPORTED ON)
endfunction()

function(normproof_module name)
  cmake_parse_arguments(PARSE_ARGV 1 arg "OPTIONAL" "" "SOURCES;DEPENDS")
  _normproof_check_arguments("normproof_module(${name})")
  add_library(${name} MODULE ${arg_SOURCES})
  normproof_target_options(${name})
  set_target_properties(${name} PROPERTIES PREFIX "" C_VISIBILITY_PRESET hidden CXX_VISIBILITY_PRESET hidden
                                           VISIBILITY_INLINES_HIDDEN ON)
  target_link_libraries(${name} PRIVATE ${arg_DEPENDS})
  if(arg_OPTIONAL)
    set_target_properties(${name} PROPERTIES EXCLUDE_FROM_ALL ON)
  else()
    install(TARGETS ${name} LIBRARY DESTINATION "${CMAKE_INSTALL_LIBDIR}/normproof")
  endif()
endfunction()

function(normproof_cuda_module name)
  normproof_module(${name} ${ARGN})
  normproof_cuda_target(${name})
  set_target_properties(${name} PROPERTIES LINKER_LANGUAGE CXX)
endfunction()

function(normproof_cuda_target name)
  # Products and sums are rounded each, as on the host; roots and quotients are rounded correctly, and nothing is
  # flushed to zero, by default. What cudafe++ makes of the host part is not ours to warn of: -Wpedantic and the
  # conversions are the C++ compiler's to see, which compiles the same sources.
  set(cuda "$<COMPILE_LANGUAGE:CUDA>")
  target_compile_options(
    ${name} PRIVATE "$<${cuda}:--std=c++20;--fmad=false;--expt-relaxed-constexpr>" # CMake 3.25 knows no CUDA_STANDARD 20
                    "$<${cuda}:-Xcompiler=-Wall,-Wextra,-Wno-missing-field-initializers,-ffp-contract=off>"
                    "$<$<BOOL:${NORMPROOF_WERROR}>:$<${cuda}:--Werror=all-warnings;-Xcompiler=-Werror>>")
  set_target_properties(${name} PROPERTIES CUDA_VISIBILITY_PRESET hidden CUDA_RUNTIME_LIBRARY Static)
endfunction()

function(normproof_program name)
  cmake_parse_arguments(PARSE_ARGV 1 arg "INSTALL" "" "SOURCES;DEPENDS")
  _normproof_check_arguments("normproof_program(${name})")
  add_executable(${name} ${arg_SOURCES})
  normproof_target_options(${name})
  target_link_libraries(${name} PRIVATE ${arg_DEPENDS})
  if(arg_INSTALL)
    install(TARGETS ${name} RUNTIME DESTINATION "${CMAKE_INSTALL_BINDIR}")
  endif()
endfunction()

function(normproof_test name)
  cmake_parse_arguments(PARSE_ARGV 1 arg "RUN_SERIAL;LAST" "TIMEOUT" "SOURCES;DEPENDS;LABELS")
  _normproof_check_arguments("normproof_test(${name})")
  if(NOT NORMPROOF_TESTS)
    return()
  endif()
  add_executable(${name} ${arg_SOURCES})
  normproof_target_options(${name})
  target_link_libraries(${name} PRIVATE ${arg_DEPENDS} GTest::gmock GTest::gtest_main rapidcheck rapidcheck_gtest)
  if(arg_LAST)
    set_property(GLOBAL APPEND PROPERTY NORMPROOF_LAST_TESTS ${name})
    return()
  endif()
  _normproof_add_test(${name})
  set_tests_properties(${name} PROPERTIES LABELS "${arg_LABELS}" RUN_SERIAL "${arg_RUN_SERIAL}")
  if(arg_TIMEOUT)
    set_tests_properties(${name} PROPERTIES TIMEOUT ${arg_TIMEOUT})
  endif()
  set_property(GLOBAL APPEND PROPERTY NORMPROOF_TEST_NAMES ${name})
  if("libtorch" IN_LIST arg_LABELS)
    return() # a test that only some builds have can stand for no clause
  endif()
  foreach(source ${arg_SOURCES})
    set_property(GLOBAL APPEND PROPERTY NORMPROOF_TEST_SOURCES "${name} ${CMAKE_CURRENT_SOURCE_DIR}/${source}")
  endforeach()
endfunction()

function(_normproof_add_test name)
  add_test(NAME ${name} COMMAND ${name} --gtest_brief=1)
  # A binary whose tests were lost, or all skipped by a filter, must not pass.
  set_tests_properties(
    ${name} PROPERTIES TIMEOUT 120 FAIL_REGULAR_EXPRESSION "==\\] 0 tests" FIXTURES_REQUIRED normproof_executed
                       ENVIRONMENT "GTEST_OUTPUT=xml:${PROJECT_BINARY_DIR}/executed/${name}.xml")
endfunction()

# At the end of the root's CMakeLists.txt, when every test is known. What an earlier run of CTest executed must not
# count for this one: a fixture, which CTest sets up before whatever it was asked for, throws it away.
function(_normproof_finish_tests)
  if(NOT NORMPROOF_TESTS)
    return()
  endif()
  get_property(names GLOBAL PROPERTY NORMPROOF_TEST_NAMES)
  get_property(sources GLOBAL PROPERTY NORMPROOF_TEST_SOURCES)
  get_property(last GLOBAL PROPERTY NORMPROOF_LAST_TESTS)
  list(JOIN sources "\n" lines)
  file(CONFIGURE OUTPUT "${PROJECT_BINARY_DIR}/executed.list" CONTENT "${lines}\n" @ONLY)
  add_test(NAME forget_earlier_tests COMMAND "${CMAKE_COMMAND}" -E rm -rf "${PROJECT_BINARY_DIR}/executed")
  set_tests_properties(forget_earlier_tests PROPERTIES FIXTURES_SETUP normproof_executed)
  foreach(name ${last})
    _normproof_add_test(${name})
    set_tests_properties(${name} PROPERTIES DEPENDS "${names}" LABELS ci)
  endforeach()
endfunction()
cmake_language(DEFER DIRECTORY "${PROJECT_SOURCE_DIR}" CALL _normproof_finish_tests)

function(normproof_bench name)
  cmake_parse_arguments(PARSE_ARGV 1 arg "" "" "SOURCES;DEPENDS")
  _normproof_check_arguments("normproof_bench(${name})")
  if(NOT NORMPROOF_TESTS)
    return()
  endif()
  add_executable(${name} ${arg_SOURCES})
  normproof_target_options(${name})
  target_link_libraries(${name} PRIVATE ${arg_DEPENDS} benchmark::benchmark_main)
endfunction()

# A mistyped keyword must not become one more source file or be dropped.
macro(_normproof_check_arguments what)
  if(arg_UNPARSED_ARGUMENTS)
    message(FATAL_ERROR "${what}: unknown argument '${arg_UNPARSED_ARGUMENTS}'; see ci/cmake/NormproofTarget.cmake")
  endif()
endmacro()
