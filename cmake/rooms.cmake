# One target per folder of src/. What a room links here is what it may include; tests/architecture checks the includes.
find_package(fmt 9 REQUIRED)
find_package(nlohmann_json 3.11 REQUIRED)
find_package(CLI11 2.1 REQUIRED)
find_package(ZLIB REQUIRED)
find_package(PkgConfig REQUIRED)
pkg_check_modules(PCRE2 REQUIRED IMPORTED_TARGET libpcre2-8>=10.40)
pkg_check_modules(UTF8PROC REQUIRED IMPORTED_TARGET libutf8proc>=2.6)
pkg_check_modules(XXHASH REQUIRED IMPORTED_TARGET libxxhash>=0.8)

set(NIBBLE_ROOMS "")
function(nibble_room name)
  cmake_parse_arguments(ROOM "" "" "USES;PRIVATE" ${ARGN})
  file(GLOB_RECURSE sources CONFIGURE_DEPENDS ${PROJECT_SOURCE_DIR}/src/${name}/*.cpp)
  if(NOT sources)
    return()
  endif()
  add_library(nibble_${name} STATIC ${sources})
  target_include_directories(nibble_${name} PUBLIC ${PROJECT_SOURCE_DIR}/src ${PROJECT_SOURCE_DIR}/include)
  target_link_libraries(nibble_${name} PRIVATE nibble_flags ${ROOM_PRIVATE} PUBLIC fmt::fmt)
  foreach(room ${ROOM_USES})
    if(TARGET nibble_${room})
      target_link_libraries(nibble_${name} PUBLIC nibble_${room})
    endif()
  endforeach()
  if(NOT name STREQUAL "cli")
    set(NIBBLE_ROOMS ${NIBBLE_ROOMS} ${name} PARENT_SCOPE)
  endif()
endfunction()

nibble_room(base PRIVATE PkgConfig::XXHASH nlohmann_json::nlohmann_json)
nibble_room(tensor USES base)
nibble_room(formats USES tensor)
nibble_room(kernels USES formats)
# The only files with instruction-set flags; what they emit stays in anonymous namespaces.
if(CMAKE_SYSTEM_PROCESSOR MATCHES "x86_64|AMD64")
  set_source_files_properties(${PROJECT_SOURCE_DIR}/src/kernels/cpu/avx2.cpp
                              ${PROJECT_SOURCE_DIR}/src/kernels/cpu/lanes_avx2.cpp
                              ${PROJECT_SOURCE_DIR}/src/kernels/cpu/integer_avx2.cpp PROPERTIES
    COMPILE_OPTIONS "-mavx2;-mfma;-mf16c;-mbmi2")
  set_source_files_properties(${PROJECT_SOURCE_DIR}/src/kernels/cpu/avx512.cpp
                              ${PROJECT_SOURCE_DIR}/src/kernels/cpu/integer_avx512.cpp PROPERTIES
    COMPILE_OPTIONS "-mavx512f;-mavx512bw;-mavx512dq;-mavx512vl;-mprefer-vector-width=512")
  set_source_files_properties(${PROJECT_SOURCE_DIR}/src/kernels/cpu/encode_vnni.cpp PROPERTIES
    COMPILE_OPTIONS "-mavx512f;-mavx512bw;-mavx512dq;-mavx512vl;-mavx512vnni;-mprefer-vector-width=512")
  set(vnni "-fno-exceptions;-mavx2;-mfma;-mf16c;-mbmi2;-mavx512f;-mavx512bw;-mavx512dq;-mavx512vl;-mavx512vnni;-mavx512bf16;-mavx512vbmi")
  set_source_files_properties(${PROJECT_SOURCE_DIR}/src/kernels/cpu/avx512_vnni.cpp
                              ${PROJECT_SOURCE_DIR}/src/kernels/cpu/lanes_vnni.cpp PROPERTIES
    COMPILE_OPTIONS "${vnni};-mprefer-vector-width=512")
  set_source_files_properties(${PROJECT_SOURCE_DIR}/src/kernels/cpu/amx.cpp PROPERTIES
    COMPILE_OPTIONS "${vnni};-mprefer-vector-width=512;-mamx-tile;-mamx-bf16;-mamx-int8")
  set_source_files_properties(${PROJECT_SOURCE_DIR}/src/kernels/cpu/attend256.cpp PROPERTIES
    COMPILE_OPTIONS "-mavx2;-mfma;-mf16c;-mbmi2")
  set_source_files_properties(${PROJECT_SOURCE_DIR}/src/kernels/cpu/attend512.cpp
                              ${PROJECT_SOURCE_DIR}/src/kernels/cpu/attend_bf16.cpp PROPERTIES
    COMPILE_OPTIONS "${vnni};-mprefer-vector-width=512")
  # clang 14 needs more than ten minutes for its checks of some of these long kernels; fuzzers are for readers, the checks of
  # g++ stay.
  if(NIBBLE_FUZZ)
    foreach(file avx2 lanes_avx2 avx512_vnni lanes_vnni attend_bf16 amx)
      set_property(SOURCE ${PROJECT_SOURCE_DIR}/src/kernels/cpu/${file}.cpp APPEND PROPERTY COMPILE_OPTIONS "-fno-sanitize=all")
    endforeach()
  endif()
endif()
if(CMAKE_SYSTEM_PROCESSOR MATCHES "aarch64|arm64|ARM64")
  set_source_files_properties(${PROJECT_SOURCE_DIR}/src/kernels/cpu/lanes_dotprod.cpp
                              ${PROJECT_SOURCE_DIR}/src/kernels/cpu/int8_dotprod.cpp
                              ${PROJECT_SOURCE_DIR}/src/kernels/cpu/attend_dotprod.cpp PROPERTIES
    COMPILE_OPTIONS "-march=armv8.2-a+dotprod")
  set_source_files_properties(${PROJECT_SOURCE_DIR}/src/kernels/cpu/lanes_i8mm.cpp
                              ${PROJECT_SOURCE_DIR}/src/kernels/cpu/int8_i8mm.cpp PROPERTIES
    COMPILE_OPTIONS "-march=armv8.2-a+dotprod+i8mm")
endif()
nibble_room(containers USES formats PRIVATE nlohmann_json::nlohmann_json ZLIB::ZLIB)
nibble_room(tokenizers USES base PRIVATE nlohmann_json::nlohmann_json PkgConfig::PCRE2 PkgConfig::UTF8PROC)
nibble_room(ops USES kernels)
# Nobody looks at exception marks of floats; kept in order, they keep loops with a choice from being vectorized.
target_compile_options(nibble_ops PRIVATE -fno-trapping-math)
nibble_room(arch USES tensor)
nibble_room(model USES ops arch containers tokenizers PRIVATE nlohmann_json::nlohmann_json)
nibble_room(calibrate USES model PRIVATE nlohmann_json::nlohmann_json)
nibble_room(methods USES formats kernels)
nibble_room(pipeline USES model methods calibrate PRIVATE nlohmann_json::nlohmann_json)
nibble_room(eval USES model PRIVATE nlohmann_json::nlohmann_json)
nibble_room(allocate USES pipeline eval)
nibble_room(cli USES allocate pipeline eval model formats PRIVATE nlohmann_json::nlohmann_json CLI11::CLI11)

set_target_properties(nibble_cli PROPERTIES NIBBLE_COLD ON)

# The program is the cli room plus its main file.
if(TARGET nibble_cli AND EXISTS ${PROJECT_SOURCE_DIR}/src/main.cpp)
  add_executable(nibble_program ${PROJECT_SOURCE_DIR}/src/main.cpp)
  set_target_properties(nibble_program PROPERTIES OUTPUT_NAME nibble RUNTIME_OUTPUT_DIRECTORY ${PROJECT_BINARY_DIR})
  target_link_libraries(nibble_program PRIVATE nibble_cli nibble_flags)
  foreach(room cli pipeline)
    target_compile_definitions(nibble_${room} PRIVATE NIBBLE_VERSION="${PROJECT_VERSION}")
  endforeach()
endif()
