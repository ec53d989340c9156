/* Finding and loading a module. */
#include "forward/module.h"

#include <dlfcn.h>
#include <noken/base.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

int nki_module_load(const struct nki_module_name *module, void **library, const void **out) {
  static const char anchor = 0; /* an address in this library */
  const char *folder = getenv("NOKEN_ENGINES");
  char path[4096];
  Dl_info info;
  if (folder != NULL && folder[0] != 0) {
    snprintf(path, sizeof path, "%s/%s.so", folder, module->name);
  } else {
    if (dladdr(&anchor, &info) == 0 || strrchr(info.dli_fname, '/') == NULL)
      return nk_fail(
          NK_EUNSUPPORTED,
          "%s not found: libnoken's folder is not known; name the module's in NOKEN_ENGINES",
          module->what);
    snprintf(path, sizeof path, "%.*s/noken/%s.so",
             (int)(strrchr(info.dli_fname, '/') - info.dli_fname), info.dli_fname, module->name);
  }
  /* The libraries behind it keep threads and tables: they stay loaded. */
  *library = dlopen(path, RTLD_NOW | RTLD_LOCAL | RTLD_NODELETE);
  if (*library == NULL)
    return nk_fail(NK_EUNSUPPORTED, "%s not installed%s: %s", module->what, module->needs,
                   dlerror());
  *out = dlsym(*library, module->symbol);
  if (*out == NULL || *(const int *)*out != module->version)
    return nk_fail(NK_EUNSUPPORTED,
                   "%s is not a module of noken %s: install that of the same version", path,
                   nk_version());
  return NK_OK;
}
