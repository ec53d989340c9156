# Sets of noken in Transformers, TransformerLens, nnsight and vLLM's requests, by runners/set_in.py,
# beside nk-run. Skipped, with the reason, where Python (NOKEN_PYTHON) lacks a package.
bats_require_minimum_version 1.5.0

PYTHON=${NOKEN_PYTHON:-python3}
export HF_HUB_OFFLINE=1 WANDB_MODE=disabled

setup() {
  cd "$BATS_TEST_DIRNAME/../.."
  tmp=$BATS_TEST_TMPDIR
}

needs() { # needs MODULE...
  command -v "$PYTHON" >/dev/null || skip "python3 is not installed"
  for module in numpy torch safetensors transformers "$@"; do
    "$PYTHON" -c "import importlib.util, sys; sys.exit(not importlib.util.find_spec('$module'))" ||
      skip "Python has no $module (NOKEN_PYTHON names another Python)"
  done
}

# make MODEL: nokens of the embedding and of layer 2, and the prompt's ids with `_` for the slot
make() {
  nk-extract "data/$1" | nk-region fit -q -o "$tmp/region"
  nk-sample -q "$tmp/region" -n 6 -d isotropic,difference --times 0.5,2 -o "$tmp/0"
  nk-run -q "data/$1" -p 'The {} of' --ids 300-399 --capture 2 | nk-region fit -q -o "$tmp/region2"
  nk-sample -q "$tmp/region2" -n 6 -d isotropic --times 0.5,2 -o "$tmp/2"
  ids=$(nk-tokens "data/$1" -e 'The ' | awk 'NR > 1 { printf "%d,", $1 }')
  ids=${ids}_,$(nk-tokens --no-special "data/$1" -e ' of' | awk 'NR > 1 { print $1 }')
}

# agree MODEL LAYER LOGITS: entropy, top token and its probability of nk-run's table, and its whole
# distribution, which the lens at the last layer prints, beside the logits
agree() {
  nk-run -q "data/$1" "$tmp/$2" --at "$2" -p 'The {} of' --unverified >"$tmp/table.tsv"
  nk-run -q "data/$1" "$tmp/$2" --at "$2" -p 'The {} of' --offsets 1 --lens 4 --top 8192 \
    >"$tmp/lens.tsv"
  "$PYTHON" - "$tmp/table.tsv" "$tmp/lens.tsv" "$3" <<'END'
import sys
import numpy as np

def read(path):
    with open(path, encoding="utf-8") as file:
        names = file.readline().rstrip("\n").split("\t")
        return [dict(zip(names, line.rstrip("\n").split("\t"))) for line in file]

table, lens = read(sys.argv[1]), read(sys.argv[2])
logits = np.load(sys.argv[3]).astype(np.float64)
p = np.exp(logits - logits.max(1, keepdims=True))
p /= p.sum(1, keepdims=True)
lens = [row for row in lens if row["offset"] == "1"]
assert len(table) == len(lens) == len(p) >= 12, (len(table), len(lens), len(p))
worst = np.zeros(3)
for row, reading, q in zip(table, lens, p):
    top = int(row["top_id"])
    assert top == q.argmax(), (top, q.argmax())
    ours = np.zeros_like(q)
    for k in range(1, len(q) + 1):
        end = f"_{k}" if k > 1 else ""
        ours[int(reading["top_id" + end])] = float(reading["top_prob" + end])
    assert abs(ours.sum() - 1) < 1e-4
    kl = (q * (np.log(q) - np.log(np.maximum(ours, 1e-45)))).sum()
    worst = np.maximum(worst, np.abs([float(row["entropy"]) + (q * np.log(q)).sum(),
                                      float(row["top_prob"]) - q[top], kl]))
print(*worst)
assert (worst < 1e-3).all(), worst
END
}

in_runner() { # in_runner HOW MODEL...
  local how=$1 model
  for model in "${@:2}"; do
    make "$model"
    for layer in 0 2; do
      "$PYTHON" tests/runners/set_in.py "$how" "data/$model" "$tmp/$layer" $layer "$ids" \
        "$tmp/logits.npy" 2>"$tmp/errors" || { cat "$tmp/errors"; return 1; }
      agree "$model" $layer "$tmp/logits.npy"
    done
  done
}

@test "Transformers, inputs_embeds and a pre-hook: nk-run's distributions to 1e-3" {
  needs
  in_runner transformers gpt2-tiny llama-tiny
}

@test "TransformerLens, hook_embed and blocks.L.hook_resid_pre: the same" {
  needs transformer_lens
  in_runner transformer_lens gpt2-tiny
}

@test "nnsight, by module path: the same" {
  needs nnsight
  in_runner nnsight llama-tiny
}

# What the page says of the scale: a vector that is a token's row gives what the token gives.
@test "rows of embeddings that are scaled, normed or have positions stand for their tokens" {
  needs
  local families=(gemma gemma2 gemma3_text granite bloom gpt2 opt)
  for family in "${families[@]}"; do
    nk-extract --no-text --ids 7-9 tests/fixtures/forward/$family -o "$tmp/$family"
  done
  "$PYTHON" - "$tmp" "${families[@]}" <<'END'
import sys
sys.path.insert(0, "tests/runners")
import set_in
import torch
from safetensors.torch import load_file
torch.set_grad_enabled(False)
for family in sys.argv[2:]:
    model = set_in.load("tests/fixtures/forward/" + family)
    rows = load_file(sys.argv[1] + "/" + family)["vectors"]
    expected = model(torch.tensor([[5, 6, i, 3] for i in (7, 8, 9)])).logits[:, -1]
    found = set_in.in_transformers(model, torch.tensor([[5, 6, 0, 3]]), 2, rows, 0)
    difference = (found - expected).abs().max()
    print(family, set_in.scale(model), difference)
    assert difference < 1e-5 * max(1, expected.abs().max())
    assert (expected[0] - expected[1]).abs().max() > 1e-3  # the token matters
END
}

# What vLLM does with a request: strict base64, torch.load of weights alone, a dense tensor of
# floats [tokens, hidden size].
@test "requests of vLLM hold what its server decodes, and the embeddings of the prompt" {
  needs
  make llama-tiny
  "$PYTHON" tests/runners/set_in.py vllm data/llama-tiny "$tmp/0" "$ids" >"$tmp/requests"
  "$PYTHON" - data/llama-tiny "$tmp/requests" "$tmp/0" "$ids" "$tmp/logits.npy" <<'END'
import base64, io, json, sys
import numpy as np, torch
from safetensors.torch import load_file
from transformers import AutoModelForCausalLM
folder, requests, path, ids, logits = sys.argv[1:]
model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32).eval()
vectors, ids = load_file(path)["vectors"], ids.split(",")
decoded = []
for line, vector in zip(open(requests), vectors):
    request = json.loads(line)
    raw = base64.b64decode(request["prompt_embeds"], validate=True)
    x = torch.load(io.BytesIO(raw), weights_only=True, map_location="cpu")
    assert isinstance(x, torch.Tensor) and x.layout == torch.strided and x.is_floating_point()
    assert x.shape == (len(ids), model.config.hidden_size) and len(raw) < 4 * x.numel() + 4096
    for row, i in zip(x, ids):
        wanted = vector if i == "_" else model.get_input_embeddings().weight[int(i)]
        assert torch.equal(row, wanted)
    decoded.append(x)
assert len(decoded) == len(vectors) == sum(1 for _ in open(requests))
with torch.no_grad():
    np.save(logits, model(inputs_embeds=torch.stack(decoded)).logits[:, -1].numpy())
END
  agree llama-tiny 0 "$tmp/logits.npy"
}

# The program of the page itself, on the first tokens of a ranking and on tokens of all kinds.
@test "verdicts of Transformers, by the page's program: nk-verify's, and --agree takes them" {
  needs
  awk '/^[.]Ss Verdicts of/ { here = 1 } here && /^[.]Ed/ { exit } code; here && /^[.]Bd/ { code = 1 }' \
    tools/noken-runners.7 | sed 's/\\e/\\/g; /^nk-verify/d' >"$tmp/page.py"
  [ "$(wc -l <"$tmp/page.py")" -gt 10 ]
  local folder=$PWD/data model
  cd "$tmp"
  for model in gpt2-tiny llama-tiny; do
    nk-glitch -q "$folder/$model" | awk 'NR < 42 || NR % 50 == 0' >ranking.tsv
    "$PYTHON" - "$folder/$model" <<'END'
import codecs, csv, sys
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer
torch.set_grad_enabled(False)
model = AutoModelForCausalLM.from_pretrained(sys.argv[1], dtype=torch.float32).eval()
tokenizer = AutoTokenizer.from_pretrained(sys.argv[1])
exec(compile(open("page.py").read(), "page.py", "exec"))
END
    nk-verify -q -p 'Please repeat the string "{}" back to me: "' \
      -p 'Repeat after me: "{}" "{}" "{}" "' "$folder/$model" ranking.tsv >ours.tsv
    awk -F '\t' 'FNR == 1 { split("", at); for (i = 1; i <= NF; i++) at[$i] = i; next }
      NR == FNR { encoded[$1] = $at["encoded"]; p[$1] = $at["max_prob"]; next }
      { n++; same = $at["encoded"] == encoded[$1]; d = $at["max_prob"] - p[$1]; all += encoded[$1] == 2 }
      !same || encoded[$1] == 2 && (d > 1e-4 || d < -1e-4) { print $1, encoded[$1], p[$1]; print; bad = 1 }
      END { print n, all; exit bad || n < 200 || all < 150 || all == n }' ours.tsv verdicts.tsv
    cut -f 1-7 <(nk-verify --agree --summary "$folder/$model" verdicts.tsv) >theirs
    cut -f 1-7 <(nk-verify --agree --summary "$folder/$model" ours.tsv) >ours
    cat theirs
    cmp theirs ours
  done
}

@test "numpy reads a set's rows, ids and columns" {
  needs
  make gpt2-tiny
  nk-convert --to npy "$tmp/0" -o "$tmp/rows.npy"
  nk-convert --to tsv "$tmp/0" | cut -f 1 | tail -n +2 >"$tmp/ids"
  "$PYTHON" - "$tmp" <<'END'
import sys
import numpy as np
from safetensors.numpy import load_file
folder = sys.argv[1]
nokens = load_file(folder + "/0")
assert np.array_equal(nokens["vectors"], np.load(folder + "/rows.npy"))
assert np.array_equal(nokens["id"], np.loadtxt(folder + "/ids", dtype=np.int64))
assert nokens["distance"].shape == nokens["id"].shape
END
}
