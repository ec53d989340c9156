/* The residual stream at a layer: vectors that replace rows or are added to them, and rows that are
 * read. The same for all engines. */
#include <math.h>
#include <noken/base.h>
#include <string.h>

#include "forward/batch.h"

float *nki_stream_row(const struct nki_stream *stream, size_t row, size_t dim) {
  if (stream->rows == NULL)
    return row >= stream->first && row - stream->first < stream->n
               ? stream->x + (row - stream->first) * dim
               : NULL;
  size_t lo = 0, hi = stream->n;
  while (lo < hi) {
    size_t mid = (lo + hi) / 2;
    if (stream->rows[mid] < row)
      lo = mid + 1;
    else
      hi = mid;
  }
  return lo < stream->n && stream->rows[lo] == row ? stream->x + lo * dim : NULL;
}

static bool apply_overrides(const struct nk_batch *batch, const struct nki_pass *pass, size_t layer,
                            const struct nki_stream *stream, size_t dim) {
  bool any = false;
  for (size_t i = 0; i < pass->n_overrides; i++) {
    const struct nk_override *o = &batch->overrides[pass->overrides[i].index];
    if (o->layer != layer) continue;
    float *x = nki_stream_row(stream, pass->overrides[i].row, dim);
    if (x == NULL) continue;
    any = true;
    if (o->mode == NK_REPLACE)
      memcpy(x, o->vector, dim * sizeof *x);
    else
      nki_add(x, o->vector, dim);
  }
  return any;
}

int nki_touch(const struct nk_forward *forward, const struct nk_batch *batch,
              const struct nki_pass *pass, size_t layer, const struct nki_stream *stream,
              bool *changed) {
  size_t dim = forward->config.shape.dim;
  bool any = apply_overrides(batch, pass, layer, stream, dim);
  if (changed != NULL) *changed = any;
  for (size_t i = 0; i < pass->n_asks; i++) {
    const struct nk_ask *a = &batch->asks[pass->asks[i].index];
    for (size_t l = 0; l < a->n_layers; l++) {
      if (a->layers[l] != layer) continue;
      const float *x = nki_stream_row(stream, pass->asks[i].row, dim);
      if (x == NULL) continue;
      double length = nki_length(x, dim);
      if (!isfinite(length))
        return layer == 0 ? nki_fail_embedding(forward, pass) : nki_fail_block(forward, layer - 1);
      if (a->residuals != NULL) memcpy(a->residuals + l * dim, x, dim * sizeof *x);
      if (a->norms != NULL) a->norms[l] = length;
    }
  }
  return NK_OK;
}
