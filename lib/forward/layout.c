/* Laying the items of a probe out as a batch: the prompt up to the first place is the shared
 * prefix, the rest is a sequence for each item with its overrides. */
#include <string.h>

#include "forward/probe.h"

bool nki_probe_is_place(const struct nk_probe *probe, size_t position) {
  if (probe->at_position) return position == probe->position;
  for (size_t s = 0; s < probe->prompt.n_slots; s++)
    if (probe->prompt.slots[s] == position) return true;
  return false;
}

static void add_override(struct nki_layout *l, struct nk_override override) {
  l->overrides[l->batch.n_overrides++] = override;
}

/* Sequence `item`: the prompt from probe->first on, with the token or vector in its places, and the
 * slice's tail. */
static void lay_item(const struct nk_probe *probe, const struct nki_slice *slice, size_t item,
                     struct nki_layout *l) {
  const struct nki_prompt *prompt = &probe->prompt;
  size_t first = probe->first, dim = probe->forward->config.shape.dim;
  size_t length = prompt->n - first + slice->n_tail;
  bool is_token = item < slice->n_tokens;
  const float *vector = is_token ? NULL : slice->vectors + (item - slice->n_tokens) * dim;
  bool replaces = !is_token && probe->layer == 0 && probe->mode == NK_REPLACE;
  int64_t *ids = l->ids + item * length;
  l->sequences[item] = (struct nk_sequence){ids, length};
  for (size_t i = first; i < prompt->n; i++) {
    bool place = nki_probe_is_place(probe, i);
    ids[i - first] = place && is_token ? slice->tokens[item] : prompt->ids[i];
    if (place && replaces) ids[i - first] = NK_VECTOR;
    if (ids[i - first] == NK_VECTOR && !(place && replaces))
      add_override(l, (struct nk_override){item, i, 0, NK_REPLACE, probe->fill});
    if (place && !is_token)
      add_override(l, (struct nk_override){item, i, probe->layer, probe->mode, vector});
  }
  if (slice->n_tail > 0) memcpy(ids + prompt->n - first, slice->tail, slice->n_tail * sizeof *ids);
}

int nki_layout_make(const struct nk_probe *probe, const struct nki_slice *slice,
                    struct nki_layout *l) {
  size_t length = probe->prompt.n - probe->first + slice->n_tail;
  size_t n_places = probe->prompt.n_slots + (probe->at_position ? 1 : 0);
  *l = (struct nki_layout){.ids = nk_alloc(slice->n, length * sizeof *l->ids),
                           .sequences = nk_alloc(slice->n, sizeof *l->sequences),
                           .overrides = nk_alloc(slice->n, 2 * n_places * sizeof *l->overrides)};
  if (l->ids == NULL || l->sequences == NULL || l->overrides == NULL) return NK_EMEMORY;
  for (size_t i = 0; i < slice->n; i++) lay_item(probe, slice, i, l);
  l->batch.prefix = (struct nk_sequence){probe->prompt.ids, probe->first};
  l->batch.sequences = l->sequences;
  l->batch.n_sequences = slice->n;
  l->batch.overrides = l->overrides;
  return NK_OK;
}

void nki_layout_free(struct nki_layout *layout) {
  nk_free(layout->ids);
  nk_free(layout->sequences);
  nk_free(layout->overrides);
}
