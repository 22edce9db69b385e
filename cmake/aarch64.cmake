# Cross building for AArch64 from another Debian machine; `./run arm` fills the sysroot and runs what is built in qemu-user.
set(CMAKE_SYSTEM_NAME Linux)
set(CMAKE_SYSTEM_PROCESSOR aarch64)
set(CMAKE_CXX_COMPILER aarch64-linux-gnu-g++)

# The compiler finds its own libc; libraries and headers are those of Debian's arm64 packages, unpacked here.
set(NIBBLE_ARM_SYSROOT ${CMAKE_CURRENT_LIST_DIR}/../build/arm64/sysroot)
set(CMAKE_LIBRARY_ARCHITECTURE aarch64-linux-gnu)
set(CMAKE_FIND_ROOT_PATH ${NIBBLE_ARM_SYSROOT})
set(CMAKE_FIND_ROOT_PATH_MODE_PROGRAM NEVER)
set(CMAKE_FIND_ROOT_PATH_MODE_LIBRARY ONLY)
set(CMAKE_FIND_ROOT_PATH_MODE_INCLUDE ONLY)
set(CMAKE_FIND_ROOT_PATH_MODE_PACKAGE ONLY)
set(ENV{PKG_CONFIG_DIR} "")
set(ENV{PKG_CONFIG_SYSROOT_DIR} ${NIBBLE_ARM_SYSROOT})
set(ENV{PKG_CONFIG_LIBDIR}
    ${NIBBLE_ARM_SYSROOT}/usr/lib/aarch64-linux-gnu/pkgconfig:${NIBBLE_ARM_SYSROOT}/usr/share/pkgconfig)

# QEMU_CPU says which processor it is.
set(CMAKE_CROSSCOMPILING_EMULATOR qemu-aarch64 -L /usr/aarch64-linux-gnu)
