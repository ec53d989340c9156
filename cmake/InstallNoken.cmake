# What `cmake --install` installs: the library with its headers, the manual pages, the plot
# templates and prompts, bash's completion, a pkg-config file and a CMake package, in the components
# tools, library and development. (The tools are installed where they are defined.) The tools find
# the library by a path relative to their own folder, so that a prefix can be moved.
include(CMakePackageConfigHelpers)
file(RELATIVE_PATH lib_from_bin /${CMAKE_INSTALL_BINDIR} /${CMAKE_INSTALL_LIBDIR})
foreach(source ${NOKEN_TOOLS})
  get_filename_component(tool ${source} NAME_WE)
  set_target_properties(${tool} PROPERTIES INSTALL_RPATH "$ORIGIN/${lib_from_bin}")
endforeach()
# The library has the path of OpenBLAS's folder; the tools need none.
set_target_properties(noken PROPERTIES INSTALL_RPATH "${NOKEN_OPENBLAS_DIR}")

install(TARGETS noken EXPORT noken LIBRARY COMPONENT library NAMELINK_COMPONENT development)
install(DIRECTORY include/noken DESTINATION ${CMAKE_INSTALL_INCLUDEDIR} COMPONENT development)
file(GLOB pages CONFIGURE_DEPENDS tools/*.1)
install(FILES ${pages} DESTINATION ${CMAKE_INSTALL_MANDIR}/man1 COMPONENT tools)
file(GLOB topics CONFIGURE_DEPENDS tools/*.7)
install(FILES ${topics} DESTINATION ${CMAKE_INSTALL_MANDIR}/man7 COMPONENT tools)
# nk-plot looks for its templates beside its own folder: the build folder is laid out as a prefix
# is.
file(MAKE_DIRECTORY ${CMAKE_BINARY_DIR}/share/noken)
file(CREATE_LINK ${CMAKE_SOURCE_DIR}/plots ${CMAKE_BINARY_DIR}/share/noken/plots SYMBOLIC)
# nk-survey is a script; its parts and the prompts are found in the same way.
configure_file(tools/nk-survey.sh bin/nk-survey COPYONLY)
install(PROGRAMS ${CMAKE_BINARY_DIR}/bin/nk-survey DESTINATION ${CMAKE_INSTALL_BINDIR}
  COMPONENT tools)
file(CREATE_LINK ${CMAKE_SOURCE_DIR}/data/prompts ${CMAKE_BINARY_DIR}/share/noken/prompts SYMBOLIC)
file(CREATE_LINK ${CMAKE_SOURCE_DIR}/tools/survey ${CMAKE_BINARY_DIR}/share/noken/survey SYMBOLIC)
install(DIRECTORY tools/survey/ DESTINATION ${CMAKE_INSTALL_DATADIR}/noken/survey COMPONENT tools)
install(DIRECTORY plots/ DESTINATION ${CMAKE_INSTALL_DATADIR}/noken/plots COMPONENT tools OPTIONAL)
install(DIRECTORY data/prompts/ DESTINATION ${CMAKE_INSTALL_DATADIR}/noken/prompts COMPONENT tools
  OPTIONAL)

# bash loads the completion of a command by the command's name.
set(completion ${CMAKE_BINARY_DIR}/share/bash-completion/completions)
list(TRANSFORM NOKEN_TOOLS REPLACE ".*/(.*)[.]c" "\\1" OUTPUT_VARIABLE tool_names)
add_custom_command(OUTPUT ${completion}/nk
  COMMAND ${CMAKE_COMMAND} -E make_directory ${completion}
  COMMAND ${CMAKE_SOURCE_DIR}/cmake/completion.sh ${CMAKE_RUNTIME_OUTPUT_DIRECTORY} ${completion}/nk
  DEPENDS cmake/completion.sh tools/nk-survey.sh ${tool_names} VERBATIM)
add_custom_target(completion ALL DEPENDS ${completion}/nk)
foreach(tool ${tool_names} nk-survey)
  if(NOT tool STREQUAL nk)
    file(MAKE_DIRECTORY ${completion})
    file(CREATE_LINK nk ${completion}/${tool} SYMBOLIC)
  endif()
endforeach()
install(DIRECTORY ${completion} DESTINATION ${CMAKE_INSTALL_DATADIR}/bash-completion
  COMPONENT tools)

set(package_dir ${CMAKE_INSTALL_LIBDIR}/cmake/noken)
install(EXPORT noken NAMESPACE noken:: FILE noken-config.cmake DESTINATION ${package_dir}
  COMPONENT development)
write_basic_package_version_file(noken-config-version.cmake COMPATIBILITY SameMinorVersion)
install(FILES ${CMAKE_CURRENT_BINARY_DIR}/noken-config-version.cmake DESTINATION ${package_dir}
  COMPONENT development)

# ${pcfiledir} makes the file independent of the prefix.
file(RELATIVE_PATH prefix_from_pc /${CMAKE_INSTALL_LIBDIR}/pkgconfig /)
configure_file(cmake/noken.pc.in noken.pc @ONLY)
install(FILES ${CMAKE_CURRENT_BINARY_DIR}/noken.pc
  DESTINATION ${CMAKE_INSTALL_LIBDIR}/pkgconfig COMPONENT development)
