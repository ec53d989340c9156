/* Which arrays of a file are hidden states, and which of their axes is which. */
#include "io/states_layout.h"
#include <noken/base.h>
#include <stdlib.h>
#include <string.h>
#include "io/vectors.h"
#include "model/dtype.h"
#include "model/rows.h"

static const char *const axis_names[NKI_N_AXES] = {"layers", "positions", "batch", "d"};

/* ---- Axes ---- */

/* axes [*n] = those that text names. */
static int parse_axes(const char *text, int axes[NKI_N_AXES], size_t *n) {
  bool seen[NKI_N_AXES] = {false};
  *n = 0;
  for (const char *at = text;; at++) {
    size_t length = strcspn(at, ",");
    int axis = 0;
    while (axis < NKI_N_AXES &&
           (strlen(axis_names[axis]) != length || strncmp(at, axis_names[axis], length) != 0))
      axis++;
    if (axis == NKI_N_AXES)
      return nk_fail(NK_EUSAGE, "unknown axis '%.*s': expected layers, positions, batch, d",
                     (int)(length < 40 ? length : 40), at);
    if (seen[axis]) return nk_fail(NK_EUSAGE, "axis '%s' is given twice", axis_names[axis]);
    seen[axis] = true;
    axes[(*n)++] = axis;
    at += length;
    if (*at == 0) break;
  }
  if (seen[NKI_POSITIONS] && seen[NKI_DIM]) return NK_OK;
  return nk_fail(NK_EUSAGE, "axes '%.80s': positions and d are needed", text);
}

/* The axes of n_dims dimensions where none are given. */
static const char *default_axes(enum nk_states_format format, size_t n_dims, bool array_per_layer) {
  if (array_per_layer)
    return n_dims == 2 ? "positions,d" : n_dims == 3 ? "batch,positions,d" : NULL;
  if (n_dims == 3) return format == NK_STATES_VLLM ? "positions,layers,d" : "layers,positions,d";
  return n_dims == 4 && format != NK_STATES_VLLM ? "layers,batch,positions,d" : NULL;
}

static void find_strides(const struct nk_tensor *tensor, bool fortran, size_t *strides) {
  size_t stride = 1;
  for (size_t i = 0; i < tensor->n_dims; i++) {
    size_t dim = fortran ? i : tensor->n_dims - 1 - i;
    strides[dim] = stride;
    stride *= tensor->shape[dim]; /* n_elements at most, which was checked */
  }
}

static int take_axes(struct nki_states_layout *l, const struct nk_tensor *tensor, bool fortran,
                     const int *axes) {
  size_t strides[NK_MAX_DIMS];
  if (tensor->n_elements == 0) return nk_fail(NK_EDATA, "array '%s' is empty", tensor->name);
  find_strides(tensor, fortran, strides);
  for (int axis = 0; axis < NKI_N_AXES; axis++) l->size[axis] = 1;
  for (size_t i = 0; i < tensor->n_dims; i++) {
    l->size[axes[i]] = tensor->shape[i];
    l->stride[axes[i]] = strides[i];
  }
  return NK_OK;
}

/* ---- Arrays ---- */

struct candidate {
  const struct nk_tensor *tensor;
  bool fortran;
  int64_t number; /* in its name, or -1 */
  size_t prefix;  /* bytes of the name before it */
  const char *suffix;
};

/* The last number in a name: that of a layer. */
static void read_number(struct candidate *c) {
  const char *name = c->tensor->name, *end = name + strlen(name);
  while (end > name && (end[-1] < '0' || end[-1] > '9')) end--;
  const char *begin = end;
  while (begin > name && begin[-1] >= '0' && begin[-1] <= '9') begin--;
  c->prefix = (size_t)(begin - name);
  c->suffix = end;
  c->number = end == begin || end - begin > 9 ? -1 : (int64_t)strtoll(begin, NULL, 10);
}

static int compare_candidates(const void *a, const void *b) {
  const struct candidate *x = a, *y = b;
  return (x->number > y->number) - (x->number < y->number);
}

/* The arrays that may be states: hidden_states alone, or all floats of n_dims dimensions (0: of
 * more than 2, or without any such of 2). Returns their number; candidates [arrays->n]. */
static size_t list_candidates(const struct nki_arrays *arrays, size_t n_dims,
                              struct candidate *candidates) {
  size_t n = 0;
  for (size_t least = 3; n == 0 && least >= 2; least--)
    for (size_t i = 0; i < arrays->n; i++) {
      struct candidate c = {0};
      c.tensor = nki_arrays_item(arrays, i, &c.fortran);
      if (c.tensor->dtype > NK_F64) continue;
      if (strcmp(c.tensor->name, "hidden_states") == 0) {
        candidates[0] = c;
        read_number(&candidates[0]);
        return 1;
      }
      if (n_dims != 0 ? c.tensor->n_dims != n_dims : c.tensor->n_dims < least) continue;
      read_number(&c);
      candidates[n++] = c;
    }
  return n;
}

/* Arrays of one shape, with names that differ in a number alone. */
static int check_family(const struct candidate *candidates, size_t n) {
  const struct candidate *a = &candidates[0];
  for (size_t i = 0; i < n; i++) {
    const struct candidate *b = &candidates[i];
    if (b->number < 0 || a->prefix != b->prefix || strcmp(a->suffix, b->suffix) != 0 ||
        memcmp(a->tensor->name, b->tensor->name, a->prefix) != 0)
      return nk_fail(NK_EDATA,
                     "arrays '%s' and '%s': expected one array of states, or one for each layer, "
                     "with names that differ in its number; save them alone",
                     a->tensor->name, candidates[i > 0 ? i : n - 1].tensor->name);
    if (a->tensor->n_dims != b->tensor->n_dims || a->fortran != b->fortran ||
        memcmp(a->tensor->shape, b->tensor->shape, a->tensor->n_dims * sizeof(size_t)) != 0)
      return nk_fail(NK_EDATA, "arrays '%s' and '%s' have different shapes", a->tensor->name,
                     b->tensor->name);
    if (i > 0 && b[-1].number == b->number)
      return nk_fail(NK_EDATA, "arrays '%s' and '%s' are of one layer", b[-1].tensor->name,
                     b->tensor->name);
  }
  return NK_OK;
}

/* All layers that the file holds, numbered as its names do, or from 0. */
static int take_layers(struct nki_states_layout *l, const struct candidate *candidates, size_t n) {
  bool in_array = n == 1 && l->stride[NKI_LAYERS] != 0;
  l->n_layers = in_array ? l->size[NKI_LAYERS] : n;
  l->layers = nk_alloc(l->n_layers, sizeof *l->layers);
  if (l->layers == NULL) return NK_EMEMORY;
  for (size_t i = 0; i < l->n_layers; i++) {
    const struct candidate *c = &candidates[in_array ? 0 : i];
    l->layers[i] = (struct nki_states_layer){c->tensor, in_array ? i * l->stride[NKI_LAYERS] : 0,
                                             in_array || c->number < 0 ? (int64_t)i : c->number};
  }
  return NK_OK;
}

static int find_states(struct nki_states_layout *l, const struct nk_states_options *o,
                       struct candidate *candidates) {
  int axes[NKI_N_AXES];
  size_t n_axes = 0;
  int code = o->axes != NULL ? parse_axes(o->axes, axes, &n_axes) : NK_OK;
  if (code != NK_OK) return code;
  size_t n = list_candidates(&l->arrays, n_axes, candidates);
  if (n == 0 && n_axes == 0)
    return nk_fail(NK_EDATA, "no array of F32, F16, BF16 or F64 with 2 axes or more");
  if (n == 0)
    return nk_fail(NK_EDATA, "no array of F32, F16, BF16 or F64 with %zu axes (%.80s)", n_axes,
                   o->axes);
  if (n > 1) qsort(candidates, n, sizeof *candidates, compare_candidates);
  if (n > 1) code = check_family(candidates, n);
  const struct nk_tensor *tensor = candidates[0].tensor;
  const char *names = o->axes != NULL ? o->axes : default_axes(o->format, tensor->n_dims, n > 1);
  if (code == NK_OK && names == NULL)
    return nk_fail(NK_EDATA, "array '%s' has %zu axes: name them", tensor->name, tensor->n_dims);
  if (code == NK_OK) code = parse_axes(names, axes, &n_axes);
  if (code == NK_OK && tensor->n_dims != n_axes)
    return nk_fail(NK_EDATA, "array '%s' has %zu axes, expected %zu (%.80s)", tensor->name,
                   tensor->n_dims, n_axes, names);
  if (code == NK_OK) code = take_axes(l, tensor, candidates[0].fortran, axes);
  if (code == NK_OK && n > 1 && l->stride[NKI_LAYERS] != 0)
    return nk_fail(NK_EDATA, "%zu arrays with an axis of layers ('%s' and others): expected one", n,
                   tensor->name);
  return code == NK_OK ? take_layers(l, candidates, n) : code;
}

/* ---- Which layers ---- */

static int name_layers(struct nki_states_layout *l, const struct nk_states_options *o) {
  if (o->n_held == 0) return NK_OK;
  if (o->n_held != l->n_layers)
    return nk_fail(NK_EDATA, "it holds %zu layers, %zu are named", l->n_layers, o->n_held);
  for (size_t i = 0; i < l->n_layers; i++) {
    for (size_t k = 0; k < i; k++)
      if (o->held[k] == o->held[i])
        return nk_fail(NK_EUSAGE, "layer %lld is named twice", (long long)o->held[i]);
    l->layers[i].number = o->held[i];
  }
  return NK_OK;
}

/* Keeps the layers that are wanted, in the file's order. */
static int select_layers(struct nki_states_layout *l, const struct nk_states_options *o) {
  size_t kept = 0;
  if (o->n_layers == 0) return NK_OK;
  for (size_t w = 0; w < o->n_layers; w++) {
    size_t i = 0;
    while (i < l->n_layers && l->layers[i].number != o->layers[w]) i++;
    if (i == l->n_layers)
      return nk_fail(NK_ENOTFOUND, "no layer %lld: it holds %zu, from %lld to %lld",
                     (long long)o->layers[w], l->n_layers, (long long)l->layers[0].number,
                     (long long)l->layers[l->n_layers - 1].number);
  }
  for (size_t i = 0; i < l->n_layers; i++)
    for (size_t w = 0; w < o->n_layers; w++)
      if (l->layers[i].number == o->layers[w]) {
        l->layers[kept++] = l->layers[i];
        break;
      }
  l->n_layers = kept;
  return NK_OK;
}

/* ---- Tokens ---- */

/* The array called `name` of an integer for each position, or NULL. */
static int take_integers(const struct nki_states_layout *l, const char *name,
                         const struct nk_tensor **found, size_t stride[2]) {
  for (size_t i = 0; i < l->arrays.n; i++) {
    bool fortran;
    const struct nk_tensor *tensor = nki_arrays_item(&l->arrays, i, &fortran);
    size_t strides[NK_MAX_DIMS], n = tensor->n_dims;
    if (strcmp(tensor->name, name) != 0) continue;
    if (tensor->dtype < NK_I64 || tensor->dtype > NK_BOOL || (n != 1 && n != 2) ||
        tensor->shape[n - 1] != l->size[NKI_POSITIONS] ||
        (n == 2 ? tensor->shape[0] : 1) != l->size[NKI_BATCH])
      return nk_fail(NK_EDATA,
                     "array '%s': %zu elements of type %s, expected integers, one for each "
                     "position (%zu) of each context (%zu)",
                     name, tensor->n_elements, nki_tensor_dtype_name(tensor),
                     l->size[NKI_POSITIONS], l->size[NKI_BATCH]);
    find_strides(tensor, fortran, strides);
    *found = tensor;
    stride[0] = n == 2 ? strides[0] : 0;
    stride[1] = strides[n - 1];
  }
  return NK_OK;
}

/* ---- A file ---- */

int nki_states_layout_read(const char *path, const struct nk_states_options *options,
                           struct nki_states_layout *l) {
  *l = (struct nki_states_layout){0};
  int code = nki_arrays_open(path, options->format == NK_STATES_NPZ, &l->arrays);
  if (code != NK_OK) return code;
  struct candidate *candidates = nk_calloc(l->arrays.n + 1, sizeof *candidates);
  code = candidates != NULL ? find_states(l, options, candidates) : NK_EMEMORY;
  nk_free(candidates);
  if (code == NK_OK) code = name_layers(l, options);
  if (code == NK_OK) code = select_layers(l, options);
  if (code == NK_OK) code = take_integers(l, "token_ids", &l->tokens, l->tokens_stride);
  if (code == NK_OK && l->tokens == NULL)
    code = take_integers(l, "input_ids", &l->tokens, l->tokens_stride);
  if (code == NK_OK) code = take_integers(l, "attention_mask", &l->mask, l->mask_stride);
  if (code == NK_OK) return NK_OK;
  nk_fail_in(code, "%s", l->arrays.file->name);
  nki_states_layout_free(l);
  return code;
}

void nki_states_layout_free(struct nki_states_layout *l) {
  nk_free(l->layers);
  nki_arrays_free(&l->arrays);
  *l = (struct nki_states_layout){0};
}
