/* The row of the table of architectures that a model out of GGUF has: a copy of its family's, with
 * GGUF's names, with the biases that the file has, and without what the converter has already done:
 * matrices are [out, in], fused q, k and v lie one after the other, the experts' gate and up are
 * apart, Gemma's norms have their 1 added. Rows of q and k that the converter has reordered are put
 * back where they are widened. */
#include <noken/base.h>
#include <stdio.h>
#include <string.h>

#include "model/architecture.h"
#include "model/gguf_model.h"
#include "model/model.h"

static bool has(const struct nk_model *model, const char *name) {
  return nki_model_look_up(model, name) != NULL;
}

/* llama.cpp's defaults for keys that a file leaves out are not Transformers'. Both agree on these.
 */
static void keep_defaults(const struct nki_architecture *row, struct nki_architecture *own) {
  static const enum nki_setting kept[] = {NKI_SETTING_ATTENTION_CAP, NKI_SETTING_LOGIT_CAP,
                                          NKI_SETTING_WINDOW_PATTERN};
  memset(own->defaults, 0, sizeof own->defaults);
  for (size_t i = 0; i < sizeof kept / sizeof *kept; i++)
    own->defaults[kept[i]] = row->defaults[kept[i]];
  if (row->window != NKI_WINDOW_ALTERNATING) return;
  own->window = NKI_WINDOW_PATTERN; /* which files may give */
  own->defaults[NKI_SETTING_WINDOW_PATTERN] = 2;
  own->defaults[NKI_SETTING_WINDOW] = row->defaults[NKI_SETTING_WINDOW];
}

static void rename_part(struct nki_architecture *own, enum nki_part part, bool is_there) {
  own->names[part] = is_there ? nki_part_gguf_name(own, part, false) : NULL;
}

/* q, k and v, and gate and up, may be fused in a file where the checkpoint has them apart, or the
 * other way round. */
static void name_parts(const struct nk_model *model, struct nki_architecture *own) {
  /* Rows in the order of pairs are put back in a q and a k of their own alone. */
  bool fused = !own->gguf_pairs && has(model, "blk.0.attn_qkv.weight");
  bool experts = own->names[NKI_EXPERTS_DOWN] != NULL;
  bool fused_experts = experts && has(model, "blk.0.ffn_gate_up_exps.weight");
  bool qk_norms = own->names[NKI_Q_NORM] != NULL &&
                  (own->qk_norm_key == NULL || has(model, "blk.0.attn_q_norm.weight"));
  for (int p = 0; p < NKI_N_PARTS; p++) rename_part(own, (enum nki_part)p, own->names[p] != NULL);
  rename_part(own, NKI_QKV, fused);
  rename_part(own, NKI_Q, !fused);
  rename_part(own, NKI_K, !fused);
  rename_part(own, NKI_V, !fused);
  rename_part(own, NKI_Q_NORM, qk_norms);
  rename_part(own, NKI_K_NORM, qk_norms);
  rename_part(own, NKI_EXPERTS_GATE_UP, fused_experts);
  rename_part(own, NKI_EXPERTS_GATE, experts && !fused_experts);
  rename_part(own, NKI_EXPERTS_UP, experts && !fused_experts);
  own->qk_norm_key = NULL;
  memset(own->other_names, 0, sizeof own->other_names);
}

/* Attention and mlp of a block: side by side where they have one norm, or always. */
static void read_order(const struct nk_model *model, struct nki_architecture *own) {
  bool falcon = own->order == NKI_PARALLEL_FALCON;
  if (!falcon && own->order != NKI_PARALLEL_STABLELM) return;
  bool two = has(model, falcon ? "blk.0.attn_norm_2.weight" : "blk.0.ffn_norm.weight");
  own->order = falcon || !two ? NKI_PARALLEL : NKI_SERIAL;
  own->names[NKI_NORM1] = nki_part_gguf_name(own, NKI_NORM1, !two);
  rename_part(own, NKI_NORM2, two);
}

/* Biases that depend on the checkpoint's configuration are those that block 0 has. */
static void find_biases(const struct nk_model *model, struct nki_architecture *own) {
  static const enum nki_part samples[NKI_N_BIASED][2] = {
      [NKI_BIASED_NORMS] = {NKI_NORM1, NKI_NORM1},
      [NKI_BIASED_QKV] = {NKI_QKV, NKI_Q},
      [NKI_BIASED_QK_NORMS] = {NKI_Q_NORM, NKI_Q_NORM},
      [NKI_BIASED_O] = {NKI_O, NKI_O},
      [NKI_BIASED_MLP] = {NKI_UP, NKI_UP},
      [NKI_BIASED_EXPERTS] = {NKI_ROUTER, NKI_ROUTER}};
  for (int b = 0; b < NKI_N_BIASED; b++) {
    if (own->biases[b].key == NULL) continue;
    bool is_there = false;
    for (int i = 0; i < 2; i++) {
      char name[NKI_MAX_NAME];
      const char *part = own->names[samples[b][i]];
      snprintf(name, sizeof name, "blk.0.%s.bias", part != NULL ? part : "");
      is_there = is_there || has(model, name);
    }
    own->biases[b] = (struct nki_flag){NULL, is_there};
  }
}

static void change_blocks(const struct nk_model *model, struct nki_architecture *own) {
  own->block = "blk.%zu.";
  own->suffixed = true;
  own->in_out = own->experts_fused = false;
  own->qkv = NKI_QKV_IN_TURN;
  if (own->norm == NKI_RMS_NORM_PLUS_ONE) own->norm = NKI_RMS_NORM;
  if (own->final_norm != NULL) own->final_norm = "output_norm";
  if (own->embedding_norm != NULL) own->embedding_norm = "token_embd_norm";
  if (own->active_normed.key != NULL)
    own->active_normed = (struct nki_flag){NULL, own->gguf_normed};
  own->rope_type = NULL;
  own->rotary_part = 1; /* llama.cpp's default, as in keep_defaults */
  name_parts(model, own);
  read_order(model, own);
  find_biases(model, own);
}

int nki_gguf_make_row(struct nk_model *model, const struct nki_architecture *row, bool runs,
                      const char *type) {
  struct nki_architecture *own = nk_calloc(1, sizeof *own);
  if (own == NULL) return NK_EMEMORY;
  model->own = own;
  if (row != NULL) {
    *own = *row;
    keep_defaults(row, own);
  }
  own->type = type;
  own->prefix = "";
  own->embedding = "token_embd";
  own->head = "output";
  bool positions = own->positions != NULL || has(model, "position_embd.weight");
  own->positions = positions ? "position_embd" : NULL;
  if (!runs) own->block = NULL;
  if (own->block != NULL) change_blocks(model, own);
  return NK_OK;
}
