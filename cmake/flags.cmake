# Flags that hold for every target. Instruction-set flags belong to src/kernels/cpu alone (see rooms.cmake).
find_program(CCACHE ccache)
if(CCACHE AND NOT CMAKE_CXX_COMPILER_LAUNCHER)
  set(CMAKE_CXX_COMPILER_LAUNCHER ${CCACHE})
endif()

add_library(nibble_flags INTERFACE)
target_compile_features(nibble_flags INTERFACE cxx_std_20)
target_compile_options(nibble_flags INTERFACE
  -Wall -Wextra -Wshadow -Wnon-virtual-dtor -Woverloaded-virtual -Werror
  # The same input gives the same bytes on every machine: no fused multiply-add unless a kernel asks for it.
  -ffp-contract=off)
if(CMAKE_SYSTEM_PROCESSOR MATCHES "x86_64|AMD64")
  target_compile_options(nibble_flags INTERFACE -march=x86-64-v2)
endif()
if(CMAKE_CXX_COMPILER_ID STREQUAL "GNU")
  # g++ 12 reports false positives from inlined std::vector and std::string code at -O3.
  target_compile_options(nibble_flags INTERFACE -Wno-maybe-uninitialized -Wno-array-bounds -Wno-stringop-overflow
                                                -Wno-stringop-overread -Wno-restrict -Wno-dangling-pointer)
endif()
# What is not hot is not worth the compiler's time: the verbs and the tests themselves.
target_compile_options(nibble_flags INTERFACE $<$<AND:$<CONFIG:Release>,$<BOOL:$<TARGET_PROPERTY:NIBBLE_COLD>>>:-O1>)
if(NIBBLE_SANITIZE)
  target_compile_options(nibble_flags INTERFACE -fsanitize=${NIBBLE_SANITIZE} -fno-sanitize-recover=all
    -fno-omit-frame-pointer -g1 $<IF:$<BOOL:$<TARGET_PROPERTY:NIBBLE_COLD>>,-O0,-O1>)
  target_link_options(nibble_flags INTERFACE -fsanitize=${NIBBLE_SANITIZE})
endif()
find_package(Threads REQUIRED)
target_link_libraries(nibble_flags INTERFACE Threads::Threads)
