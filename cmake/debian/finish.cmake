# Run by cpack before it makes a package: compresses the pages and the changelog as Debian requires,
# without a name or a date inside.
file(GLOB_RECURSE files ${CPACK_TEMPORARY_DIRECTORY}/*)
list(FILTER files INCLUDE REGEX "/man/man[17]/[^/]+$|/changelog\\.Debian$")
foreach(file ${files})
  execute_process(COMMAND gzip -9n ${file} COMMAND_ERROR_IS_FATAL ANY)
endforeach()
