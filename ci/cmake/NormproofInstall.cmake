# `cmake --install`: the program, the kernel libraries, the headers and a package for find_package(normproof).
include(CMakePackageConfigHelpers)
