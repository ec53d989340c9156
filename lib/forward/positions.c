/* Positions that a configuration describes: rotary embeddings and their scaling, linear biases. */
#include <math.h>
#include <noken/base.h>
#include <stdio.h>
#include <string.h>

#include "forward/internal.h"
#include "model/family.h"
#include "model/model.h"
#include "model/model_config.h"
#include "model/rotary.h"

/* ---- Rotary positions ---- */

/* Llama 3.1's change of frequencies: waves longer than the original context by low_freq_factor are
 * stretched by factor, those shorter by high_freq_factor stay, those between are blended. */
static int scale_llama3(const struct nk_model *model, struct nki_rope *rope) {
  double factor = 0, low = 0, high = 0, original = 0;
  int code = nki_read_number(model, NKI_SETTING_ROPE_FACTOR, &factor);
  if (code == NK_OK) code = nki_read_number(model, NKI_SETTING_ROPE_LOW, &low);
  if (code == NK_OK) code = nki_read_number(model, NKI_SETTING_ROPE_HIGH, &high);
  if (code == NK_OK) code = nki_read_number(model, NKI_SETTING_ROPE_ORIGINAL, &original);
  if (code != NK_OK) return code;
  if (factor == 0 || low == 0 || high <= low || original == 0)
    return nk_fail(NK_EDATA,
                   "config.json: rope_scaling 'llama3' needs factor, low_freq_factor, "
                   "high_freq_factor (the larger) and original_max_position_embeddings");
  for (size_t i = 0; i < rope->dim / 2; i++) {
    double wave = 2 * M_PI / rope->frequencies[i];
    double share = (original / wave - low) / (high - low); /* of the unscaled frequency */
    share = fmin(fmax(share, 0), 1);
    rope->frequencies[i] *= share + (1 - share) / factor;
  }
  return NK_OK;
}

/* Phi-3's longrope: each frequency is divided by a factor of its own, one list for sequences within
 * the original context and one for longer ones; the rotation is amplified. A choice by length would
 * make a position's value depend on how long its batch is, so only the original context is run. */
static int scale_longrope(const struct nk_model *model, struct nki_config *config,
                          struct nki_rope *rope) {
  struct nk_forward_shape *shape = &config->shape;
  size_t original = shape->n_positions;
  char path[64];
  snprintf(path, sizeof path, "%s.short_factor", nki_rope_object(model));
  int code = nki_read_optional_size(model, NKI_SETTING_ROPE_ORIGINAL, 1, 1u << 30, &original);
  if (code != NK_OK) return code;
  for (size_t i = 0; i < rope->dim / 2; i++) {
    double factor;
    code = nki_model_config_number_at(model, path, i, &factor);
    if (code != NK_OK || !(factor > 0))
      return nk_fail(NK_EDATA, "config.json: %s needs %zu positive numbers", path, rope->dim / 2);
    rope->frequencies[i] /= factor;
  }
  double stretch = (double)shape->n_positions / (double)original;
  double amplitude = stretch <= 1 ? 1 : sqrt(1 + log(stretch) / log((double)original));
  code = nki_read_number(model, NKI_SETTING_ROPE_AMPLITUDE, &amplitude);
  if (code != NK_OK) return code;
  rope->amplitude = (float)amplitude;
  if (original < shape->n_positions) shape->n_positions = original;
  return NK_OK;
}

static int scale_yarn(const struct nk_model *model, double base, struct nki_rope *rope) {
  struct nki_yarn yarn;
  int code = nki_read_yarn(model, &yarn);
  if (code != NK_OK) return code;
  double n = (double)rope->dim, per_turn = n / (2 * log(base));
  double low = per_turn * log(yarn.original / (yarn.fast * 2 * M_PI));
  double high = per_turn * log(yarn.original / (yarn.slow * 2 * M_PI));
  low = fmax(yarn.rounded ? floor(low) : low, 0);
  high = fmin(yarn.rounded ? ceil(high) : high, n - 1);
  if (low == high) high += 0.001;
  for (size_t i = 0; i < rope->dim / 2; i++) {
    double share = fmin(fmax(((double)i - low) / (high - low), 0), 1); /* of the divided one */
    rope->frequencies[i] *= (1 - share) + share / yarn.factor;
  }
  rope->amplitude = (float)yarn.amplitude;
  return NK_OK;
}

static int scale_linear(const struct nk_model *model, struct nki_rope *rope) {
  double factor = 0;
  int code = nki_read_number(model, NKI_SETTING_ROPE_FACTOR, &factor);
  if (code != NK_OK) return code;
  if (factor == 0) return nk_fail(NK_EDATA, "config.json: rope_scaling 'linear' has no factor");
  for (size_t i = 0; i < rope->dim / 2; i++) rope->frequencies[i] /= factor;
  return NK_OK;
}

static int scale_frequencies(const struct nk_model *model, struct nki_config *config, double base,
                             struct nki_rope *rope) {
  const char *type;
  int code = nki_rope_type(model, &type);
  if (code == NK_ENOTFOUND) {
    double factor = 0;
    code = nki_read_number(model, NKI_SETTING_ROPE_FACTOR, &factor);
    if (code != NK_OK || factor == 0) return code;
    return nk_fail(NK_EDATA, "config.json: rope_scaling has no rope_type");
  }
  if (code != NK_OK) return code;
  /* "dynamic" changes the base for sequences beyond n_positions, which are not run. */
  if (strcmp(type, "default") == 0 || strcmp(type, "dynamic") == 0) return NK_OK;
  if (strcmp(type, "linear") == 0) return scale_linear(model, rope);
  if (strcmp(type, "llama3") == 0) return scale_llama3(model, rope);
  if (strcmp(type, "yarn") == 0) return scale_yarn(model, base, rope);
  if (strcmp(type, "longrope") == 0 || strcmp(type, "su") == 0)
    return scale_longrope(model, config, rope);
  return nk_fail(NK_EUNSUPPORTED, "config.json: rope type '%s' is not implemented", type);
}

/* n / 2 frequencies (Su et al. 2021). */
static int make_rope(struct nki_rope *rope, size_t n, double base) {
  *rope = (struct nki_rope){n, 1, nk_alloc(n / 2, sizeof(double))};
  if (rope->frequencies == NULL) return NK_EMEMORY;
  for (size_t i = 0; i < n / 2; i++) rope->frequencies[i] = pow(base, -2.0 * (double)i / (double)n);
  return NK_OK;
}

static int read_rotary(const struct nk_model *model, const struct nki_architecture *architecture,
                       struct nki_config *config) {
  size_t head_dim = config->shape.head_dim;
  double part = architecture->rotary_part, base = 10000, local = 10000;
  int code = nki_read_number(model, NKI_SETTING_ROTARY_PART, &part);
  if (code == NK_OK) code = nki_read_number(model, NKI_SETTING_ROTARY_BASE, &base);
  if (code == NK_OK) code = nki_read_number(model, NKI_SETTING_LOCAL_ROTARY_BASE, &local);
  if (code != NK_OK) return code;
  size_t n = (size_t)((double)head_dim * part);
  code = nki_read_optional_size(model, NKI_SETTING_ROTARY_DIM, 1, head_dim, &n);
  if (code != NK_OK) return code;
  if (n == 0 || n > head_dim || n % 2 != 0)
    return nk_fail(NK_EDATA, "config.json: %zu of a head's %zu components cannot be rotated", n,
                   head_dim);
  config->rotary_pairs = architecture->rotary == NKI_ROTARY_PAIRS;
  code = make_rope(&config->ropes[NKI_ROPE_FULL], n, base);
  if (code == NK_OK && architecture->rotated == NKI_ROTATED_BY_KIND)
    code = make_rope(&config->ropes[NKI_ROPE_LOCAL], n, local);
  if (code != NK_OK) return code;
  return scale_frequencies(model, config, base, &config->ropes[NKI_ROPE_FULL]);
}

/* ---- Linear biases ---- */

/* Slopes 2^(-m), 2^(-2m), .. for n heads, n a power of two. Where it is not: those of the power
 * below it, then every second of those of the power above it; in MPT every second of the power
 * above it, then the others. */
static int read_slopes(const struct nk_model *model, const struct nki_architecture *architecture,
                       struct nki_config *config) {
  size_t n = config->shape.n_heads, below = 1;
  double most = 8; /* the exponent of the last slope */
  bool mpt = architecture->alibi == NKI_ALIBI_MPT;
  int code = nki_model_config_number(model, "attn_config.alibi_bias_max", &most);
  if (code != NK_OK && code != NK_ENOTFOUND) return code;
  if (most != 8)
    return nk_fail(NK_EUNSUPPORTED, "config.json: alibi_bias_max %g is not implemented", most);
  config->slopes = nk_alloc(n, sizeof *config->slopes);
  if (config->slopes == NULL) return NK_EMEMORY;
  while (2 * below <= n) below *= 2;
  size_t above = below == n ? n : 2 * below;
  for (size_t i = 0; i < n; i++) {
    double exponent = most / (double)below * (double)(i + 1);
    if (i >= below) exponent = most / (double)above * (double)(2 * (i - below) + 1);
    if (mpt && below != n) {
      size_t k = i < above / 2 ? 2 * i + 2 : 2 * (i - above / 2) + 1;
      exponent = most / (double)above * (double)k;
    }
    config->slopes[i] = (float)pow(2, -exponent);
  }
  config->slopes_rounded = architecture->alibi == NKI_ALIBI_FALCON;
  return NK_OK;
}

int nki_positions_read(const struct nk_model *model, const struct nki_architecture *architecture,
                       struct nki_config *config) {
  bool alibi = architecture->alibi != NKI_NO_ALIBI;
  if (architecture->alibi == NKI_ALIBI_FALCON)
    alibi = nki_flag_value(model, (struct nki_flag){"alibi", false});
  if (alibi) return read_slopes(model, architecture, config);
  return architecture->rotary == NKI_NO_ROTARY ? NK_OK : read_rotary(model, architecture, config);
}
