/* The version, from the header's numbers; CMake reads it there too. */
#include <noken/base.h>

#define TEXT_OF(number) #number
#define TEXT(number) TEXT_OF(number)

const char *nk_version(void) {
  return TEXT(NK_VERSION_MAJOR) "." TEXT(NK_VERSION_MINOR) "." TEXT(NK_VERSION_PATCH);
}
