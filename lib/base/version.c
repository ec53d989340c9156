/* The versions of this library, from the header's numbers, which CMake reads too, and of those that
 * it is linked to. */
#define PCRE2_CODE_UNIT_WIDTH 8
#include <jansson.h>
#include <noken/base.h>
#include <pcre2.h>
#include <string.h>
#include <utf8proc.h>

#define TEXT_OF(number) #number
#define TEXT(number) TEXT_OF(number)

char *openblas_get_config(void); /* cblas.h of some releases leaves it out */

const char *nk_version(void) {
  return TEXT(NK_VERSION_MAJOR) "." TEXT(NK_VERSION_MINOR) "." TEXT(NK_VERSION_PATCH);
}

/* Appends text up to its second space: "OpenBLAS 0.3.21 NO_AFFINITY ..." and PCRE2's "10.42 DATE"
 * say more than the version. */
static void append_words(struct nk_buffer *out, const char *text, int n) {
  for (; *text != 0 && (*text != ' ' || --n > 0); text++) nk_buffer_byte(out, *text);
}

void nk_describe_libraries(struct nk_buffer *out) {
  char pcre2[64] = "";
  if (pcre2_config(PCRE2_CONFIG_VERSION, NULL) <= (int)sizeof pcre2)
    pcre2_config(PCRE2_CONFIG_VERSION, pcre2);
  append_words(out, openblas_get_config(), 2);
  nk_buffer_printf(out, ", FAISS %s, Jansson %s, PCRE2 ", NOKEN_FAISS_VERSION,
                   jansson_version_str());
  append_words(out, pcre2, 1);
  nk_buffer_printf(out, ", utf8proc %s", utf8proc_version());
}
