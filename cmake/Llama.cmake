# llama.cpp, where there is one: the module noken/llama.so, the forward pass's second engine. It is
# a library of its own, loaded when it is asked for, so that libnoken does not depend on llama.cpp.
#
#   NOKEN_LLAMA           a prefix (include/llama.h, lib/libllama*.so, lib/libggml*.so); OFF; or
#                         AUTO: llama.cpp's CMake package, or else its pkg-config file
#   NOKEN_GGML_BACKENDS   the folder of ggml's backends, where it is not that of ggml's library
set(NOKEN_LLAMA AUTO CACHE STRING "llama.cpp: AUTO, OFF or a prefix")
set(NOKEN_GGML_BACKENDS "" CACHE PATH "the folder of ggml's backends")

if(NOKEN_LLAMA STREQUAL AUTO)
  find_package(llama CONFIG QUIET)
  if(TARGET llama)
    set(noken_llama_libraries llama)
  else()
    pkg_check_modules(LLAMA QUIET IMPORTED_TARGET llama)
    if(TARGET PkgConfig::LLAMA)
      set(noken_llama_libraries PkgConfig::LLAMA)
    endif()
  endif()
elseif(NOKEN_LLAMA)
  # Builds for several releases have these in their libraries' names.
  foreach(name llama ggml ggml-base)
    file(GLOB found ${NOKEN_LLAMA}/lib/lib${name}.so ${NOKEN_LLAMA}/lib/lib${name}.v*.so)
    if(NOT found OR NOT EXISTS ${NOKEN_LLAMA}/include/llama.h)
      message(FATAL_ERROR "NOKEN_LLAMA: no llama.cpp: ${NOKEN_LLAMA} needs include/llama.h and "
        "lib/lib${name}.so")
    endif()
    list(GET found 0 found)
    file(REAL_PATH ${found} found)
    list(APPEND noken_llama_libraries ${found})
  endforeach()
  set(noken_llama_include ${NOKEN_LLAMA}/include)
endif()

if(noken_llama_libraries)
  add_library(noken_llama MODULE lib/forward/llama/module.c lib/forward/llama/devices.c)
  target_include_directories(noken_llama PRIVATE include lib)
  target_include_directories(noken_llama SYSTEM PRIVATE ${noken_llama_include})
  target_link_libraries(noken_llama PRIVATE ${noken_llama_libraries})
  if(NOKEN_GGML_BACKENDS)
    target_compile_definitions(noken_llama PRIVATE NOKEN_GGML_BACKENDS="${NOKEN_GGML_BACKENDS}")
  endif()
  set_target_properties(noken_llama PROPERTIES OUTPUT_NAME llama PREFIX ""
    C_VISIBILITY_PRESET hidden LIBRARY_OUTPUT_DIRECTORY ${CMAKE_LIBRARY_OUTPUT_DIRECTORY}/noken
    INSTALL_RPATH_USE_LINK_PATH ON)
  install(TARGETS noken_llama LIBRARY DESTINATION ${CMAKE_INSTALL_LIBDIR}/noken
    COMPONENT library)
endif()
