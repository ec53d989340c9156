# FAISS with its C API. An installed library faiss_c is used. Debian packages FAISS as a static
# library without faiss_c: there its sources, which faiss-c-api.sh puts into the folder
# NOKEN_FAISS_C_API, are compiled to a static library, and libnoken.so contains both.
find_library(NOKEN_FAISS_C_LIBRARY faiss_c)
find_path(NOKEN_FAISS_C_INCLUDE faiss/c_api/Index_c.h)
if(NOT NOKEN_FAISS_C_INCLUDE)
  message(FATAL_ERROR "FAISS is not installed (no header faiss/c_api/Index_c.h): run ./setup.sh")
endif()
file(STRINGS ${NOKEN_FAISS_C_INCLUDE}/faiss/Index.h faiss_version
  REGEX "#define FAISS_VERSION_(MAJOR|MINOR|PATCH) [0-9]+")
string(REGEX REPLACE "[^0-9]+" "." faiss_version "${faiss_version}")
string(REGEX REPLACE "^[.]" "" faiss_version "${faiss_version}")
set_source_files_properties(lib/base/version.c PROPERTIES
  COMPILE_DEFINITIONS NOKEN_FAISS_VERSION="${faiss_version}")

add_library(noken_faiss_c INTERFACE)
target_include_directories(noken_faiss_c SYSTEM INTERFACE ${NOKEN_FAISS_C_INCLUDE})

if(NOKEN_FAISS_C_LIBRARY)
  target_link_libraries(noken_faiss_c INTERFACE ${NOKEN_FAISS_C_LIBRARY})
else()
  set(NOKEN_FAISS_C_API ${CMAKE_SOURCE_DIR}/build/faiss-c-api CACHE PATH
    "the folder with the sources of FAISS's C API")
  # The script does nothing where its folder has the installed version. A folder that it did not
  # make is used as it is.
  if(NOT EXISTS ${NOKEN_FAISS_C_API}/Index_c.cpp OR EXISTS ${NOKEN_FAISS_C_API}/VERSION)
    execute_process(COMMAND ${CMAKE_SOURCE_DIR}/cmake/faiss-c-api.sh ${NOKEN_FAISS_C_API}
      RESULT_VARIABLE status)
    if(NOT status EQUAL 0)
      message(FATAL_ERROR "no sources of FAISS's C API (see the messages above): run ./setup.sh, "
        "or set the folder that has them: -DNOKEN_FAISS_C_API=FOLDER")
    endif()
  endif()
  find_library(NOKEN_FAISS faiss REQUIRED)
  file(GLOB sources ${NOKEN_FAISS_C_API}/*_c.cpp ${NOKEN_FAISS_C_API}/error_impl.cpp
    ${NOKEN_FAISS_C_API}/impl/*_c.cpp ${NOKEN_FAISS_C_API}/utils/*_c.cpp)
  add_library(faiss_c STATIC ${sources})
  target_include_directories(faiss_c SYSTEM PRIVATE ${NOKEN_FAISS_C_INCLUDE})
  target_compile_options(faiss_c PRIVATE -w) # not code of this project
  add_library(noken_faiss UNKNOWN IMPORTED)
  set_target_properties(noken_faiss PROPERTIES IMPORTED_LOCATION ${NOKEN_FAISS})
  target_link_libraries(noken_faiss INTERFACE noken_openblas OpenMP::OpenMP_CXX)
  target_link_libraries(faiss_c PUBLIC noken_faiss)
  target_link_libraries(noken_faiss_c INTERFACE faiss_c)
endif()
