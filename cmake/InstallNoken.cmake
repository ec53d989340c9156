# What `cmake --install` installs: the library with its headers, the manual pages, the plot
# templates and prompts, a pkg-config file and a CMake package. (The tools are installed where they
# are defined.) The tools find the library by a path relative to their own folder, so that a prefix
# can be moved.
include(CMakePackageConfigHelpers)
file(RELATIVE_PATH lib_from_bin /${CMAKE_INSTALL_BINDIR} /${CMAKE_INSTALL_LIBDIR})
foreach(source ${NOKEN_TOOLS})
  get_filename_component(tool ${source} NAME_WE)
  set_target_properties(${tool} PROPERTIES INSTALL_RPATH "$ORIGIN/${lib_from_bin}")
endforeach()
# The library has the path of OpenBLAS's folder; the tools need none.
set_target_properties(noken PROPERTIES INSTALL_RPATH "${NOKEN_OPENBLAS_DIR}")

install(TARGETS noken EXPORT noken LIBRARY)
install(DIRECTORY include/noken DESTINATION ${CMAKE_INSTALL_INCLUDEDIR})
file(GLOB pages CONFIGURE_DEPENDS tools/*.1)
install(FILES ${pages} DESTINATION ${CMAKE_INSTALL_MANDIR}/man1)
file(GLOB topics CONFIGURE_DEPENDS tools/*.7)
install(FILES ${topics} DESTINATION ${CMAKE_INSTALL_MANDIR}/man7)
# nk-plot looks for its templates beside its own folder: the build folder is laid out as a prefix
# is.
file(MAKE_DIRECTORY ${CMAKE_BINARY_DIR}/share/noken)
file(CREATE_LINK ${CMAKE_SOURCE_DIR}/plots ${CMAKE_BINARY_DIR}/share/noken/plots SYMBOLIC)
install(DIRECTORY plots/ DESTINATION ${CMAKE_INSTALL_DATADIR}/noken/plots OPTIONAL)
install(DIRECTORY data/prompts/ DESTINATION ${CMAKE_INSTALL_DATADIR}/noken/prompts OPTIONAL)

set(package_dir ${CMAKE_INSTALL_LIBDIR}/cmake/noken)
install(EXPORT noken NAMESPACE noken:: FILE noken-config.cmake DESTINATION ${package_dir})
write_basic_package_version_file(noken-config-version.cmake COMPATIBILITY SameMinorVersion)
install(FILES ${CMAKE_CURRENT_BINARY_DIR}/noken-config-version.cmake DESTINATION ${package_dir})

# ${pcfiledir} makes the file independent of the prefix.
file(RELATIVE_PATH prefix_from_pc /${CMAKE_INSTALL_LIBDIR}/pkgconfig /)
configure_file(cmake/noken.pc.in noken.pc @ONLY)
install(FILES ${CMAKE_CURRENT_BINARY_DIR}/noken.pc
  DESTINATION ${CMAKE_INSTALL_LIBDIR}/pkgconfig)
