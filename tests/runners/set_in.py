#!/usr/bin/env python3
"""A vector set of noken in other runners: each vector in the slot of a prompt.

    set_in.py transformers | transformer_lens | nnsight MODEL SET LAYER IDS LOGITS.npy
    set_in.py vllm MODEL SET IDS > REQUESTS

IDS are the prompt's tokens, with `_` for the slot: 599,_,290. At layer 0 a vector stands in the
place of an embedding; at layer L it is the residual stream that enters block L, and the embedding
in the slot is the mean of all, as nk-run's. The first form writes the logits at the prompt's end,
[vectors, vocabulary]; vllm prints a request of vLLM's server, a line of JSON, for each vector.
noken-runners(7) explains the parts."""
import base64
import io
import json
import sys

import numpy as np
import torch
from safetensors.torch import load_file
from transformers import AutoModelForCausalLM


def load(folder):
    return AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32).eval()


def scale(model):
    """Of a vector as nk-extract and nk-sample write it: some embeddings (Gemma's) multiply their
    rows, and nothing after them does."""
    return float(getattr(model.get_input_embeddings(), "embed_scale", 1))


def fill(model, n):
    return model.get_input_embeddings().weight.mean(0).expand(n, -1)


def embeddings(model, ids, slot, vectors):
    """[vectors, positions, d], for inputs_embeds."""
    x = model.get_input_embeddings()(ids).repeat(len(vectors), 1, 1)
    x[:, slot] = vectors * scale(model)
    return x


def path_of(model, module):
    return next(name for name, found in model.named_modules() if found is module)


def blocks(model):
    """The list of blocks: transformer.h, model.layers, ..."""
    n = model.config.num_hidden_layers
    return next(m for m in model.modules() if isinstance(m, torch.nn.ModuleList) and len(m) == n)


def in_transformers(model, ids, slot, vectors, layer):
    if layer == 0:
        return model(inputs_embeds=embeddings(model, ids, slot, vectors)).logits[:, -1]

    def replace(module, args, kwargs):
        x = (args[0] if args else kwargs["hidden_states"]).clone()
        x[:, slot] = vectors
        return ((x, *args[1:]), kwargs) if args else (args, {**kwargs, "hidden_states": x})

    hook = blocks(model)[layer].register_forward_pre_hook(replace, with_kwargs=True)
    x = embeddings(model, ids, slot, fill(model, len(vectors)))
    logits = model(inputs_embeds=x).logits[:, -1]
    hook.remove()
    return logits


def in_transformer_lens(model, ids, slot, vectors, layer):
    from transformer_lens.model_bridge import TransformerBridge

    bridge = TransformerBridge.boot_transformers(
        model.config._name_or_path, hf_model=model, dtype=torch.float32, device="cpu")

    def put(values):
        def replace(x, hook):
            x = x.clone()
            x[:, slot] = values
            return x
        return replace

    n = len(vectors)
    hooks = [("hook_embed", put((vectors if layer == 0 else fill(model, n)) * scale(model)))]
    if layer > 0:
        hooks.append((f"blocks.{layer}.hook_resid_pre", put(vectors)))
    return bridge.run_with_hooks(ids.repeat(n, 1), fwd_hooks=hooks)[:, -1]


def in_nnsight(model, ids, slot, vectors, layer):
    from nnsight import NNsight

    n = len(vectors)
    embedding = path_of(model, model.get_input_embeddings())
    block = path_of(model, blocks(model)[layer])
    first = (vectors if layer == 0 else fill(model, n)) * scale(model)
    wrapped = NNsight(model)
    with wrapped.trace(ids.repeat(n, 1)):
        wrapped.get(embedding).output[:, slot] = first
        if layer > 0:
            wrapped.get(block).input[:, slot] = vectors
        logits = wrapped.output.logits.save()
    return logits[:, -1]


def vllm_request(name, x):
    """x [positions, d]: vLLM decodes base64 to a file of torch.save that holds one tensor."""
    file = io.BytesIO()
    torch.save(x.clone(), file)  # a view would save the tensor that it is a part of
    return {"model": name, "prompt_embeds": base64.b64encode(file.getvalue()).decode("ascii"),
            "max_tokens": 1, "temperature": 0, "logprobs": 1}


def main():
    how, folder, path, *rest = sys.argv[1:]
    torch.set_grad_enabled(False)
    model, vectors = load(folder), load_file(path)["vectors"]
    ids = rest[-1 if how == "vllm" else 1].split(",")
    slot = ids.index("_")
    ids = torch.tensor([[0 if i == "_" else int(i) for i in ids]])
    if how == "vllm":
        for x in embeddings(model, ids, slot, vectors):
            print(json.dumps(vllm_request(folder, x)))
        return
    run = {"transformers": in_transformers, "transformer_lens": in_transformer_lens,
           "nnsight": in_nnsight}[how]
    np.save(rest[2], run(model, ids, slot, vectors, int(rest[0])).numpy())


if __name__ == "__main__":
    main()
