/* The residual stream at a layer, or the outputs at a site of a block: vectors that replace rows or
 * are added to them, and rows that are read. The same for all engines. */
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

/* What an override or an ask has at its place. */
struct part {
  float *x; /* [width], or NULL where the stream has no such row */
  size_t width;
};

static struct part part_at(const struct nki_config *c, const struct nki_stream *stream, size_t row,
                           size_t head) {
  bool heads = stream->site == NK_SITE_HEAD;
  size_t width = heads ? c->shape.head_dim : c->shape.dim;
  float *x = nki_stream_row(stream, row, heads ? nki_q_width(c) : width);
  return (struct part){x == NULL || !heads ? x : x + head * width, width};
}

static bool apply_overrides(const struct nki_config *c, const struct nk_batch *batch,
                            const struct nki_pass *pass, size_t layer,
                            const struct nki_stream *stream) {
  bool any = false;
  for (size_t i = 0; i < pass->n_overrides; i++) {
    const struct nk_override *o = &batch->overrides[pass->overrides[i].index];
    if (o->layer != layer || o->site != stream->site) continue;
    const struct part part = part_at(c, stream, pass->overrides[i].row, o->head);
    if (part.x == NULL) continue;
    any = true;
    if (o->mode == NK_REPLACE)
      memcpy(part.x, o->vector, part.width * sizeof *part.x);
    else
      nki_add(part.x, o->vector, part.width);
  }
  return any;
}

int nki_touch(const struct nk_forward *forward, const struct nk_batch *batch,
              const struct nki_pass *pass, size_t layer, const struct nki_stream *stream,
              bool *changed) {
  const struct nki_config *c = &forward->config;
  bool any = apply_overrides(c, batch, pass, layer, stream);
  bool embedding = layer == 0 && stream->site == NK_SITE_STREAM;
  size_t block = layer == 0 || stream->site != NK_SITE_STREAM ? layer : layer - 1;
  if (changed != NULL) *changed = any;
  for (size_t i = 0; i < pass->n_asks; i++) {
    const struct nk_ask *a = &batch->asks[pass->asks[i].index];
    for (size_t l = 0; l < a->n_layers && a->site == stream->site; l++) {
      if (a->layers[l] != layer) continue;
      const struct part part = part_at(c, stream, pass->asks[i].row, a->head);
      if (part.x == NULL) continue;
      double length = nki_length(part.x, part.width);
      if (!isfinite(length))
        return embedding ? nki_fail_embedding(forward, pass, pass->spans, pass->n_spans)
                         : nki_fail_block(forward, block);
      if (a->residuals != NULL)
        memcpy(a->residuals + l * part.width, part.x, part.width * sizeof *part.x);
      if (a->norms != NULL) a->norms[l] = length;
    }
  }
  return NK_OK;
}
