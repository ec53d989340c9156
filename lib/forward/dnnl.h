/* What libnoken and the module that binds oneDNN know of each other. The module is noken/dnnl.so,
 * which libnoken loads when products of bfloat16 are asked for (module.h). It calls nothing of
 * libnoken but what it is given here.
 *
 * A product is y = x W^T of bfloat16 numbers, with sums in F32. */
#ifndef NOKEN_FORWARD_DNNL_H
#define NOKEN_FORWARD_DNNL_H

#include <noken/base.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define NKI_DNNL_SYMBOL "noken_dnnl_module"
enum { NKI_DNNL_VERSION = 1 }; /* of this interface */

struct nki_dnnl;        /* oneDNN on this processor */
struct nki_dnnl_matrix; /* a weight in the order that products read it in */

struct nki_dnnl_hooks {
  int (*fail)(int code, const char *format, ...) NK_PRINTF(2, 3); /* nk_fail */
  void (*warn)(const char *format, ...) NK_PRINTF(1, 2);          /* nk_warn */
};

/* Rows [n_out, ld], of which the first n_in elements count; with in_out [n_in, ld]. */
struct nki_dnnl_weight {
  const void *elements; /* bfloat16, without alignment */
  size_t n_out, n_in, ld;
  bool in_out;
};

/* y [n, n_out] = x [n, n_in] W^T, or with `add` y += that. */
struct nki_dnnl_product {
  size_t n;
  const uint16_t *x;
  float *y;
  bool add;
};

/* Functions that return int: NK_OK or a negative code, with the message set by `fail`. They may be
 * called by several threads, of which each has matrices of its own. */
struct nki_dnnl_module {
  int version;
  /* NULL where the processor has no instructions for bfloat16, or on failure. Warns where products
   * of floats are faster. */
  struct nki_dnnl *(*open)(const struct nki_dnnl_hooks *hooks);
  void (*free)(struct nki_dnnl *dnnl);
  /* *matrix = the weight; the memory of what it was before (or NULL) is used again. */
  int (*pack)(struct nki_dnnl *dnnl, const struct nki_dnnl_weight *weight,
              struct nki_dnnl_matrix **matrix);
  void (*free_matrix)(struct nki_dnnl_matrix *matrix);
  int (*multiply)(const struct nki_dnnl_matrix *matrix, const struct nki_dnnl_product *product);
};

#endif
