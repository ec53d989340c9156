/* Shared libraries of noken's own that libnoken loads when they are asked for (llama.h, dnnl.h): so
 * that it needs the libraries they bind neither to be built nor to be started. */
#ifndef NOKEN_FORWARD_MODULE_H
#define NOKEN_FORWARD_MODULE_H

/* Loads noken/NAME.so, from beside libnoken or from the folder NOKEN_ENGINES, and finds what it
 * exports: a struct that begins with an int, the version of its interface. `what` names it in
 * messages, `needs` says what to install. Returns NK_OK, or NK_EUNSUPPORTED when it is missing or
 * has another version; *library is then closed by dlclose in either case. */
struct nki_module_name {
  const char *what, *name, *needs, *symbol;
  int version;
};
int nki_module_load(const struct nki_module_name *module, void **library, const void **out);

#endif
