# Debian packages: noken (the tools, their pages, completion, templates and prompts), libnoken0,
# libnoken-dev and, where CMake finds oneDNN, noken-dnnl (the module of bfloat16 products: libnoken0
# does not depend on oneDNN). They need the paths of an installation under /usr, which the preset
# has:
#
#   cmake --preset package && cmake --build --preset package && (cd build-package && cpack)
set(NOKEN_MAINTAINER "noken authors <noken@users.invalid>" CACHE STRING
  "the packages' maintainer: NAME <ADDRESS>")

set(library libnoken${PROJECT_VERSION_MAJOR})
set(CPACK_GENERATOR DEB)
set(CPACK_PACKAGE_NAME noken)
set(CPACK_PACKAGE_VERSION ${PROJECT_VERSION})
set(CPACK_DEBIAN_PACKAGE_RELEASE 1)
set(CPACK_PACKAGING_INSTALL_PREFIX /usr)
set(CPACK_COMPONENTS_ALL tools library development)
set(parts tools:noken library:${library} development:libnoken-dev)
if(TARGET noken_dnnl)
  list(APPEND CPACK_COMPONENTS_ALL dnnl)
  list(APPEND parts dnnl:noken-dnnl)
endif()
set(CPACK_DEB_COMPONENT_INSTALL ON)
set(CPACK_STRIP_FILES ON)
set(CPACK_INSTALL_DEFAULT_DIRECTORY_PERMISSIONS OWNER_READ OWNER_WRITE OWNER_EXECUTE GROUP_READ
  GROUP_EXECUTE WORLD_READ WORLD_EXECUTE)
set(CPACK_PRE_BUILD_SCRIPTS ${CMAKE_SOURCE_DIR}/cmake/debian/finish.cmake)

set(CPACK_DEBIAN_FILE_NAME DEB-DEFAULT)
set(CPACK_DEBIAN_PACKAGE_MAINTAINER ${NOKEN_MAINTAINER})
set(CPACK_DEBIAN_PACKAGE_CONTROL_STRICT_PERMISSION ON)
set(CPACK_DEBIAN_PACKAGE_SHLIBDEPS ON)
set(CPACK_DEBIAN_PACKAGE_SHLIBDEPS_PRIVATE_DIRS ${CMAKE_LIBRARY_OUTPUT_DIRECTORY})
set(CPACK_DEBIAN_PACKAGE_GENERATE_SHLIBS ON)

# Each package's summary is the first line of its description.
set(CPACK_PACKAGE_DESCRIPTION_SUMMARY "")
set(about "Finds glitch tokens of language models, samples vectors at controlled
distances from what a model knows, and measures what they do.")
set(CPACK_DEBIAN_TOOLS_PACKAGE_NAME noken)
set(CPACK_DEBIAN_TOOLS_PACKAGE_SECTION science)
# nk-survey stops where nk-plot does. The other programs that it calls are in essential packages.
set(CPACK_DEBIAN_TOOLS_PACKAGE_DEPENDS
  "${library} (= ${PROJECT_VERSION}-1), gnuplot-nox | gnuplot")
set(CPACK_DEBIAN_TOOLS_PACKAGE_RECOMMENDS "fonts-dejavu-core")
set(CPACK_DEBIAN_TOOLS_PACKAGE_SUGGESTS "noken-dnnl")
set(CPACK_COMPONENT_TOOLS_DESCRIPTION "analysis of token embeddings and glitch tokens\n${about}")
set(CPACK_DEBIAN_LIBRARY_PACKAGE_NAME ${library})
set(CPACK_DEBIAN_LIBRARY_PACKAGE_SECTION libs)
set(CPACK_DEBIAN_LIBRARY_PACKAGE_DEPENDS libopenblas0-openmp) # the library's RUNPATH
set(CPACK_DEBIAN_LIBRARY_PACKAGE_CONTROL_EXTRA ${CMAKE_SOURCE_DIR}/cmake/debian/triggers)
set(CPACK_COMPONENT_LIBRARY_DESCRIPTION
  "analysis of token embeddings and glitch tokens (library)\n${about}")
set(CPACK_DEBIAN_DEVELOPMENT_PACKAGE_NAME libnoken-dev)
set(CPACK_DEBIAN_DEVELOPMENT_PACKAGE_SECTION libdevel)
set(CPACK_DEBIAN_DEVELOPMENT_PACKAGE_DEPENDS "${library} (= ${PROJECT_VERSION}-1)")
set(CPACK_COMPONENT_DEVELOPMENT_DESCRIPTION
  "analysis of token embeddings and glitch tokens (headers)\n${about}")
set(CPACK_DEBIAN_DNNL_PACKAGE_NAME noken-dnnl)
set(CPACK_DEBIAN_DNNL_PACKAGE_SECTION science)
set(CPACK_DEBIAN_DNNL_PACKAGE_DEPENDS "${library} (= ${PROJECT_VERSION}-1)")
set(CPACK_COMPONENT_DNNL_DESCRIPTION
  "analysis of token embeddings and glitch tokens (bfloat16)
Products of bfloat16 for nk-run and nk-verify, on processors with AVX512_BF16
or AMX.")

# What Debian requires in each package's own folder; finish.cmake compresses the changelog.
string(TIMESTAMP date "%a, %d %b %Y %H:%M:%S +0000" UTC)
configure_file(cmake/debian/changelog.in debian/changelog.Debian @ONLY)
configure_file(cmake/debian/copyright debian/copyright COPYONLY)
foreach(part ${parts})
  string(REPLACE ":" ";" part ${part})
  list(GET part 0 component)
  list(GET part 1 package)
  install(FILES ${CMAKE_BINARY_DIR}/debian/copyright ${CMAKE_BINARY_DIR}/debian/changelog.Debian
    DESTINATION ${CMAKE_INSTALL_DATADIR}/doc/${package} COMPONENT ${component}
    EXCLUDE_FROM_ALL)
endforeach()
configure_file(cmake/debian/overrides.in debian/${library} @ONLY)
install(FILES ${CMAKE_BINARY_DIR}/debian/${library}
  DESTINATION ${CMAKE_INSTALL_DATADIR}/lintian/overrides
  COMPONENT library EXCLUDE_FROM_ALL)
include(CPack)
