# libnibble: every room but the command line in one archive, with its headers and a CMake package.
