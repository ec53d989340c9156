/* What config.json says of rotary positions and their scaling. */
#include "model/rotary.h"

#include <math.h>
#include <noken/base.h>
#include <stdio.h>
#include <string.h>

#include "model/architecture.h"
#include "model/family.h"
#include "model/model.h"
#include "model/model_config.h"

int nki_rope_type(const struct nk_model *model, const char **type) {
  static const char *const keys[] = {"rope_type", "type", "full_attention.rope_type"};
  static const char local[] = "rope_parameters.sliding_attention.rope_type";
  char path[64];
  int code = nki_model_config_string(model, local, type);
  if (code == NK_OK && strcmp(*type, "default") != 0)
    return nk_fail(NK_EUNSUPPORTED, "config.json: %s '%s' is not implemented", local, *type);
  code = NK_ENOTFOUND;
  *type = "default";
  if (nki_rope_is_default(model)) {
    *type = nki_model_architecture(model)->rope_type;
    return NK_OK;
  }
  for (size_t i = 0; i < sizeof keys / sizeof *keys && code == NK_ENOTFOUND; i++) {
    snprintf(path, sizeof path, "%s.%s", nki_rope_object(model), keys[i]);
    code = nki_model_config_string(model, path, type);
  }
  return code;
}

int nki_read_yarn(const struct nk_model *model, struct nki_yarn *out) {
  const struct nki_architecture *architecture = nki_model_architecture(model);
  double scale = 0, scale_all = 0, n_positions = 0;
  char path[64];
  *out = (struct nki_yarn){.fast = 32, .slow = 1, .rounded = true};
  int code = nki_read_number(model, NKI_SETTING_N_POSITIONS, &n_positions);
  out->original = n_positions;
  const struct {
    enum nki_setting setting;
    double *value;
  } numbers[] = {{NKI_SETTING_ROPE_FACTOR, &out->factor},
                 {NKI_SETTING_ROPE_ORIGINAL, &out->original},
                 {NKI_SETTING_ROPE_FAST, &out->fast},
                 {NKI_SETTING_ROPE_SLOW, &out->slow},
                 {NKI_SETTING_ROPE_SCALE, &scale},
                 {NKI_SETTING_ROPE_SCALE_ALL, &scale_all},
                 {NKI_SETTING_ROPE_AMPLITUDE, &out->amplitude}};
  for (size_t i = 0; i < sizeof numbers / sizeof numbers[0] && code == NK_OK; i++)
    code = nki_read_number(model, numbers[i].setting, numbers[i].value);
  if (nki_rope_is_default(model)) out->rounded = !architecture->yarn_exact;
  snprintf(path, sizeof path, "%s.truncate", nki_rope_object(model));
  if (code == NK_OK) code = nki_model_config_bool(model, path, &out->rounded);
  if (code != NK_OK && code != NK_ENOTFOUND) return code;
  if (out->factor == 0) out->factor = n_positions / out->original;
  out->growth = 1 + (out->factor > 1 ? 0.1 * log(out->factor) : 0);
  if (out->amplitude == 0 && scale > 0 && scale_all > 0)
    out->amplitude = (scale * (out->growth - 1) + 1) / (scale_all * (out->growth - 1) + 1);
  if (out->amplitude == 0) out->amplitude = out->growth;
  return NK_OK;
}
