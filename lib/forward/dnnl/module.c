/* oneDNN behind products of bfloat16: the module noken/dnnl.so (see ../dnnl.h).
 *
 * A weight is packed once into the blocks that oneDNN's product of its shape wants. Descriptions
 * and kernels are made anew for each call: oneDNN itself caches the kernels, which are what takes
 * time (1 to 10 ms; 1,024 of them are kept), and the rest takes microseconds. */
#include <noken/base.h>
#include <oneapi/dnnl/dnnl.h>
#include <oneapi/dnnl/dnnl_debug.h>
#include <stdlib.h>
#include <string.h>
#if defined(__x86_64__)
#include <cpuid.h>
#endif

#include "forward/dnnl.h"

/* Rows that a packed weight is made for; its blocks do not depend on it. */
enum { SOME_ROWS = 256 };

struct nki_dnnl {
  struct nki_dnnl_hooks hooks;
  dnnl_engine_t engine;
};

/* Where elements of a matrix are: a struct in oneDNN 2, a pointer from 3 on. */
struct layout {
  dnnl_memory_desc_t desc;
};

struct nki_dnnl_matrix {
  const struct nki_dnnl *dnnl;
  size_t n_out, n_in;
  struct layout layout;
  dnnl_memory_t memory;
};

static int failed(const struct nki_dnnl *d, const char *what, dnnl_status_t status) {
  return d->hooks.fail(status == dnnl_out_of_memory ? NK_EMEMORY : NK_EUNSUPPORTED,
                       "bfloat16 products: oneDNN: %s: %s; F32 does without it", what,
                       dnnl_status2str(status));
}

/* ---- The processor ---- */

static bool can(dnnl_cpu_isa_t isa) {
  return (dnnl_get_effective_cpu_isa() & isa) == isa;
}

static bool is_intel(void) {
#if defined(__x86_64__)
  unsigned a, b, c, d;
  return __get_cpuid(0, &a, &b, &c, &d) != 0 && b == signature_INTEL_ebx;
#else
  return false;
#endif
}

static void free_dnnl(struct nki_dnnl *d) {
  if (d == NULL) return;
  if (d->engine != NULL) dnnl_engine_destroy(d->engine);
  free(d);
}

static struct nki_dnnl *open_dnnl(const struct nki_dnnl_hooks *hooks) {
  if (!can(dnnl_cpu_isa_avx512_core_bf16)) {
    hooks->fail(NK_EUNSUPPORTED,
                "bfloat16 products: this processor has neither AVX512_BF16 nor AMX; use F32");
    return NULL;
  }
  struct nki_dnnl *d = calloc(1, sizeof *d);
  if (d == NULL) {
    hooks->fail(NK_EMEMORY, "bfloat16 products: out of memory");
    return NULL;
  }
  d->hooks = *hooks;
  dnnl_status_t status = dnnl_engine_create(&d->engine, dnnl_cpu, 0);
  if (status != dnnl_success) {
    failed(d, "no engine", status);
    free_dnnl(d);
    return NULL;
  }
  if (is_intel() && !can(dnnl_cpu_isa_avx512_core_amx))
    hooks->warn(
        "bfloat16 products are slower than those of F32 on this processor, which has "
        "AVX512_BF16 but not AMX");
  return d;
}

/* ---- What differs between oneDNN 2 and 3 ---- */

#if DNNL_VERSION_MAJOR == 2

#define DESC(layout) (&(layout)->desc)

/* Element [r, c] of [n_rows, n_columns] at r * strides[0] + c * strides[1]; strides of NULL: as the
 * product wants it. */
static dnnl_status_t describe(struct layout *out, dnnl_data_type_t type, size_t n_rows,
                              size_t n_columns, const dnnl_dims_t strides) {
  const dnnl_dims_t dims = {(dnnl_dim_t)n_rows, (dnnl_dim_t)n_columns};
  if (strides == NULL)
    return dnnl_memory_desc_init_by_tag(&out->desc, 2, dims, type, dnnl_format_tag_any);
  return dnnl_memory_desc_init_by_strides(&out->desc, 2, dims, type, strides);
}

static void free_layout(struct layout *layout) {
  (void)layout;
}

static dnnl_status_t copy_weights_layout(dnnl_primitive_desc_t product, struct layout *out) {
  out->desc = *dnnl_primitive_desc_query_md(product, dnnl_query_weights_md, 0);
  return dnnl_success;
}

static dnnl_status_t append_sum(dnnl_post_ops_t after) {
  return dnnl_post_ops_append_sum(after, 1);
}

static dnnl_status_t create_product(dnnl_engine_t engine, const struct layout *x,
                                    const struct layout *weight, const struct layout *y,
                                    dnnl_primitive_attr_t attributes, dnnl_primitive_desc_t *out) {
  dnnl_matmul_desc_t matmul;
  dnnl_status_t status = dnnl_matmul_desc_init(&matmul, DESC(x), DESC(weight), NULL, DESC(y));
  return status != dnnl_success
             ? status
             : dnnl_primitive_desc_create(out, &matmul, attributes, engine, NULL);
}

#else

#define DESC(layout) ((layout)->desc)

static dnnl_status_t describe(struct layout *out, dnnl_data_type_t type, size_t n_rows,
                              size_t n_columns, const dnnl_dims_t strides) {
  const dnnl_dims_t dims = {(dnnl_dim_t)n_rows, (dnnl_dim_t)n_columns};
  if (strides == NULL)
    return dnnl_memory_desc_create_with_tag(&out->desc, 2, dims, type, dnnl_format_tag_any);
  return dnnl_memory_desc_create_with_strides(&out->desc, 2, dims, type, strides);
}

static void free_layout(struct layout *layout) {
  if (layout->desc != NULL) dnnl_memory_desc_destroy(layout->desc);
}

static dnnl_status_t copy_weights_layout(dnnl_primitive_desc_t product, struct layout *out) {
  return dnnl_memory_desc_clone(&out->desc,
                                dnnl_primitive_desc_query_md(product, dnnl_query_weights_md, 0));
}

static dnnl_status_t append_sum(dnnl_post_ops_t after) {
  return dnnl_post_ops_append_sum(after, 1, 0, dnnl_data_type_undef);
}

static dnnl_status_t create_product(dnnl_engine_t engine, const struct layout *x,
                                    const struct layout *weight, const struct layout *y,
                                    dnnl_primitive_attr_t attributes, dnnl_primitive_desc_t *out) {
  return dnnl_matmul_primitive_desc_create(out, engine, DESC(x), DESC(weight), NULL, DESC(y),
                                           attributes);
}

#endif

/* ---- Descriptions ---- */

/* The product of n rows with m's weight, which is in m->layout or, with `any`, in the layout that
 * the product wants. */
static dnnl_status_t describe_product(const struct nki_dnnl_matrix *m, bool any,
                                      const struct nki_dnnl_product *p,
                                      dnnl_primitive_desc_t *out) {
  const dnnl_dims_t of_x = {(dnnl_dim_t)m->n_in, 1}, of_y = {(dnnl_dim_t)m->n_out, 1};
  struct layout x = {0}, weight = {0}, y = {0};
  dnnl_primitive_attr_t attributes = NULL;
  dnnl_post_ops_t after = NULL;
  dnnl_status_t status = describe(&x, dnnl_bf16, p->n, m->n_in, of_x);
  if (status == dnnl_success) status = describe(&y, dnnl_f32, p->n, m->n_out, of_y);
  if (status == dnnl_success) status = describe(&weight, dnnl_bf16, m->n_in, m->n_out, NULL);
  if (status == dnnl_success) status = dnnl_primitive_attr_create(&attributes);
  if (status == dnnl_success) status = dnnl_post_ops_create(&after);
  if (status == dnnl_success && p->add) status = append_sum(after);
  if (status == dnnl_success) status = dnnl_primitive_attr_set_post_ops(attributes, after);
  if (status == dnnl_success)
    status = create_product(m->dnnl->engine, &x, any ? &weight : &m->layout, &y, attributes, out);
  if (after != NULL) dnnl_post_ops_destroy(after);
  if (attributes != NULL) dnnl_primitive_attr_destroy(attributes);
  free_layout(&x);
  free_layout(&weight);
  free_layout(&y);
  return status;
}

/* Runs what the description says, which is freed, and waits for it. */
static dnnl_status_t execute(const struct nki_dnnl *d, dnnl_primitive_desc_t description,
                             const dnnl_exec_arg_t *arguments, int n_arguments) {
  dnnl_primitive_t primitive = NULL;
  dnnl_stream_t stream = NULL;
  dnnl_status_t status = dnnl_primitive_create(&primitive, description);
  if (status == dnnl_success)
    status = dnnl_stream_create(&stream, d->engine, dnnl_stream_default_flags);
  if (status == dnnl_success)
    status = dnnl_primitive_execute(primitive, stream, n_arguments, arguments);
  if (status == dnnl_success) status = dnnl_stream_wait(stream);
  if (stream != NULL) dnnl_stream_destroy(stream);
  if (primitive != NULL) dnnl_primitive_destroy(primitive);
  dnnl_primitive_desc_destroy(description);
  return status;
}

/* ---- Weights ---- */

static void free_matrix(struct nki_dnnl_matrix *m) {
  if (m == NULL) return;
  if (m->memory != NULL) dnnl_memory_destroy(m->memory);
  free_layout(&m->layout);
  free(m);
}

/* m->layout and ->memory for a weight of m's shape. */
static dnnl_status_t make_room(struct nki_dnnl_matrix *m) {
  const struct nki_dnnl_product some = {.n = SOME_ROWS};
  dnnl_primitive_desc_t description = NULL;
  dnnl_status_t status = describe_product(m, true, &some, &description);
  if (status != dnnl_success) return status;
  status = copy_weights_layout(description, &m->layout);
  dnnl_primitive_desc_destroy(description);
  if (status != dnnl_success) return status;
  return dnnl_memory_create(&m->memory, DESC(&m->layout), m->dnnl->engine, DNNL_MEMORY_ALLOCATE);
}

static dnnl_status_t reorder(const struct nki_dnnl_matrix *m, const struct nki_dnnl_weight *w) {
  const dnnl_dim_t ld = (dnnl_dim_t)w->ld;
  const dnnl_dims_t strides = {w->in_out ? ld : 1, w->in_out ? 1 : ld};
  dnnl_engine_t engine = m->dnnl->engine;
  struct layout given = {0};
  dnnl_memory_t from = NULL;
  dnnl_primitive_desc_t description = NULL;
  dnnl_status_t status = describe(&given, dnnl_bf16, m->n_in, m->n_out, strides);
  if (status == dnnl_success)
    status = dnnl_memory_create(&from, DESC(&given), engine, (void *)(uintptr_t)w->elements);
  if (status == dnnl_success)
    status = dnnl_reorder_primitive_desc_create(&description, DESC(&given), engine,
                                                DESC(&m->layout), engine, NULL);
  if (status == dnnl_success) {
    const dnnl_exec_arg_t arguments[] = {{DNNL_ARG_FROM, from}, {DNNL_ARG_TO, m->memory}};
    status = execute(m->dnnl, description, arguments, 2);
  }
  if (from != NULL) dnnl_memory_destroy(from);
  free_layout(&given);
  return status;
}

static int pack(struct nki_dnnl *d, const struct nki_dnnl_weight *w,
                struct nki_dnnl_matrix **matrix) {
  struct nki_dnnl_matrix *m = *matrix;
  dnnl_status_t status = dnnl_success;
  if (m == NULL || m->n_out != w->n_out || m->n_in != w->n_in) {
    free_matrix(m);
    *matrix = m = calloc(1, sizeof *m);
    if (m == NULL) return failed(d, "a weight", dnnl_out_of_memory);
    m->dnnl = d;
    m->n_out = w->n_out;
    m->n_in = w->n_in;
    status = make_room(m);
  }
  if (status == dnnl_success) status = reorder(m, w);
  if (status == dnnl_success) return NK_OK;
  free_matrix(m);
  *matrix = NULL;
  return failed(d, "a weight", status);
}

/* ---- Products ---- */

static int multiply(const struct nki_dnnl_matrix *m, const struct nki_dnnl_product *p) {
  dnnl_engine_t engine = m->dnnl->engine;
  dnnl_primitive_desc_t description = NULL;
  dnnl_memory_t x = NULL, y = NULL;
  dnnl_status_t status = describe_product(m, false, p, &description);
  if (status != dnnl_success) return failed(m->dnnl, "a product", status);
  status = dnnl_memory_create(&x, dnnl_primitive_desc_query_md(description, dnnl_query_src_md, 0),
                              engine, (void *)(uintptr_t)p->x);
  if (status == dnnl_success)
    status = dnnl_memory_create(&y, dnnl_primitive_desc_query_md(description, dnnl_query_dst_md, 0),
                                engine, p->y);
  const dnnl_exec_arg_t arguments[] = {
      {DNNL_ARG_SRC, x}, {DNNL_ARG_WEIGHTS, m->memory}, {DNNL_ARG_DST, y}};
  if (status == dnnl_success)
    status = execute(m->dnnl, description, arguments, 3);
  else
    dnnl_primitive_desc_destroy(description);
  if (x != NULL) dnnl_memory_destroy(x);
  if (y != NULL) dnnl_memory_destroy(y);
  return status == dnnl_success ? NK_OK : failed(m->dnnl, "a product", status);
}

extern const struct nki_dnnl_module noken_dnnl_module;
NK_API const struct nki_dnnl_module noken_dnnl_module = {.version = NKI_DNNL_VERSION,
                                                         .open = open_dnnl,
                                                         .free = free_dnnl,
                                                         .pack = pack,
                                                         .free_matrix = free_matrix,
                                                         .multiply = multiply};
