# oneDNN, where there is one: the module noken/dnnl.so, products of bfloat16. It is a library of its
# own, loaded when it is asked for, so that libnoken does not depend on oneDNN.
#
#   NOKEN_DNNL   ON, OFF or AUTO: where oneDNN's headers and library are found
set(NOKEN_DNNL AUTO CACHE STRING "products of bfloat16 by oneDNN: ON, OFF or AUTO")

if(NOKEN_DNNL)
  find_path(NOKEN_DNNL_INCLUDE oneapi/dnnl/dnnl.h)
  find_library(NOKEN_DNNL_LIBRARY dnnl)
  if(NOKEN_DNNL_INCLUDE AND NOKEN_DNNL_LIBRARY)
    add_library(noken_dnnl MODULE lib/forward/dnnl/module.c)
    target_include_directories(noken_dnnl PRIVATE include lib)
    target_include_directories(noken_dnnl SYSTEM PRIVATE ${NOKEN_DNNL_INCLUDE})
    target_link_libraries(noken_dnnl PRIVATE ${NOKEN_DNNL_LIBRARY})
    set_target_properties(noken_dnnl PROPERTIES OUTPUT_NAME dnnl PREFIX ""
      C_VISIBILITY_PRESET hidden LIBRARY_OUTPUT_DIRECTORY ${CMAKE_LIBRARY_OUTPUT_DIRECTORY}/noken
      INSTALL_RPATH "" INSTALL_RPATH_USE_LINK_PATH ON) # it does not need OpenBLAS's folder
    install(TARGETS noken_dnnl LIBRARY DESTINATION ${CMAKE_INSTALL_LIBDIR}/noken COMPONENT dnnl)
  elseif(NOKEN_DNNL STREQUAL AUTO)
    message(STATUS "no oneDNN (libdnnl-dev): without products of bfloat16")
  else()
    message(FATAL_ERROR "NOKEN_DNNL: no oneDNN: oneapi/dnnl/dnnl.h and libdnnl are needed "
      "(libdnnl-dev)")
  endif()
endif()
