# libnibble: every room but the command line in one archive, with its headers and a CMake package.
include(GNUInstallDirs)
include(CMakePackageConfigHelpers)

set(objects "")
foreach(room ${NIBBLE_ROOMS})
  list(APPEND objects $<TARGET_OBJECTS:nibble_${room}>)
endforeach()
add_library(nibble_library STATIC EXCLUDE_FROM_ALL ${objects})
set_target_properties(nibble_library PROPERTIES OUTPUT_NAME nibble EXPORT_NAME nibble)
# Headers include each other by room ("base/error.h"); users write <nibble/base/error.h>.
target_include_directories(nibble_library INTERFACE $<INSTALL_INTERFACE:${CMAKE_INSTALL_INCLUDEDIR}>
                                                    $<INSTALL_INTERFACE:${CMAKE_INSTALL_INCLUDEDIR}/nibble>)
target_compile_features(nibble_library INTERFACE cxx_std_20)
target_link_libraries(nibble_library INTERFACE fmt::fmt ZLIB::ZLIB Threads::Threads PkgConfig::PCRE2 PkgConfig::UTF8PROC
                                               PkgConfig::XXHASH)

install(TARGETS nibble_library EXPORT nibble OPTIONAL COMPONENT library DESTINATION ${CMAKE_INSTALL_LIBDIR})
install(EXPORT nibble NAMESPACE nibble:: COMPONENT library DESTINATION ${CMAKE_INSTALL_LIBDIR}/cmake/nibble)
install(DIRECTORY src/ COMPONENT library DESTINATION ${CMAKE_INSTALL_INCLUDEDIR}/nibble FILES_MATCHING PATTERN "*.h"
        PATTERN "cli" EXCLUDE)
configure_package_config_file(cmake/nibbleConfig.cmake.in ${PROJECT_BINARY_DIR}/nibbleConfig.cmake
                              INSTALL_DESTINATION ${CMAKE_INSTALL_LIBDIR}/cmake/nibble)
write_basic_package_version_file(${PROJECT_BINARY_DIR}/nibbleConfigVersion.cmake COMPATIBILITY SameMinorVersion)
install(FILES ${PROJECT_BINARY_DIR}/nibbleConfig.cmake ${PROJECT_BINARY_DIR}/nibbleConfigVersion.cmake COMPONENT library
        DESTINATION ${CMAKE_INSTALL_LIBDIR}/cmake/nibble)
install(TARGETS nibble_program COMPONENT program DESTINATION ${CMAKE_INSTALL_BINDIR})
