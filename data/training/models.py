"""The two architectures in plain torch, with Hugging Face's tensor names.

Only what training needs: no dropout, no cache. The loss goes through fused_cross_entropy, which
never holds the logits of a whole batch: on a CPU that is faster by half.
"""
import math

import torch
import torch.nn.functional as F
from torch import nn


class FusedCrossEntropy(torch.autograd.Function):
    """Summed cross entropy of softmax(hidden @ weight.T), in blocks of rows.

    hidden [n, d], weight [vocabulary, d], target [n]; losses [n], if given, is filled with each
    row's. The gradients are computed with the loss.
    """

    BLOCK = 256

    @staticmethod
    def forward(ctx, hidden, weight, target, losses=None):
        d_hidden = torch.empty_like(hidden)
        d_weight = torch.zeros_like(weight)
        logits = torch.empty(FusedCrossEntropy.BLOCK, weight.shape[0])
        total = 0.0
        for start in range(0, hidden.shape[0], FusedCrossEntropy.BLOCK):
            x = hidden[start:start + FusedCrossEntropy.BLOCK]
            y = target[start:start + FusedCrossEntropy.BLOCK, None]
            z = logits[:x.shape[0]]
            torch.mm(x, weight.t(), out=z)
            z.sub_(z.max(1, keepdim=True)[0])
            chosen = z.gather(1, y)
            z.exp_()
            norm = z.sum(1, keepdim=True)
            loss = norm.log() - chosen
            total += loss.sum().item()
            if losses is not None:
                losses[start:start + FusedCrossEntropy.BLOCK] = loss[:, 0]
            z.div_(norm)
            z.scatter_add_(1, y, torch.full(y.shape, -1.0))
            torch.mm(z, weight, out=d_hidden[start:start + FusedCrossEntropy.BLOCK])
            d_weight.addmm_(z.t(), x)
        ctx.save_for_backward(d_hidden, d_weight)
        return torch.tensor(total)

    @staticmethod
    def backward(ctx, grad):
        d_hidden, d_weight = ctx.saved_tensors
        return d_hidden * grad, d_weight * grad, None, None


def attend(q, k, v):
    """Causal attention. q, k, v [batch, heads, time, head_dim]."""
    time = q.shape[2]
    scores = q @ k.transpose(2, 3) / math.sqrt(q.shape[3])
    scores = scores + torch.full((time, time), -1e9).triu(1)
    return torch.softmax(scores, -1) @ v


class Conv1D(nn.Module):
    """GPT-2's linear layer: weight [in, out]."""

    def __init__(self, n_in, n_out):
        super().__init__()
        self.weight = nn.Parameter(torch.empty(n_in, n_out))
        self.bias = nn.Parameter(torch.zeros(n_out))

    def forward(self, x):
        return torch.addmm(self.bias, x.reshape(-1, x.shape[-1]), self.weight).view(
            *x.shape[:-1], -1)


class GPT2Block(nn.Module):
    def __init__(self, c):
        super().__init__()
        d = c["n_embd"]
        self.heads = c["n_head"]
        self.ln_1 = nn.LayerNorm(d, eps=c["layer_norm_epsilon"])
        self.attn = nn.ModuleDict({"c_attn": Conv1D(d, 3 * d),
                                   "c_proj": Conv1D(d, d)})
        self.ln_2 = nn.LayerNorm(d, eps=c["layer_norm_epsilon"])
        self.mlp = nn.ModuleDict({"c_fc": Conv1D(d, 4 * d),
                                  "c_proj": Conv1D(4 * d, d)})

    def forward(self, x):
        b, t, d = x.shape
        q, k, v = (h.view(b, t, self.heads, -1).transpose(1, 2)
                   for h in self.attn["c_attn"](self.ln_1(x)).split(d, 2))
        x = x + self.attn["c_proj"](attend(q, k, v).transpose(1, 2).reshape(b, t, d))
        h = self.mlp["c_fc"](self.ln_2(x))
        # gelu_new
        h = 0.5 * h * (1 + torch.tanh(math.sqrt(2 / math.pi) * (h + 0.044715 * h * h * h)))
        return x + self.mlp["c_proj"](h)


class GPT2(nn.Module):
    def __init__(self, c):
        super().__init__()
        self.config = c
        self.wte = nn.Embedding(c["vocab_size"], c["n_embd"])
        self.wpe = nn.Embedding(c["n_positions"], c["n_embd"])
        self.h = nn.ModuleList([GPT2Block(c) for _ in range(c["n_layer"])])
        self.ln_f = nn.LayerNorm(c["n_embd"], eps=c["layer_norm_epsilon"])

    def hidden(self, ids):
        x = self.wte(ids) + self.wpe(torch.arange(ids.shape[1]))
        for block in self.h:
            x = block(x)
        return self.ln_f(x)

    def unembedding(self):
        return self.wte.weight


class RMSNorm(nn.Module):
    def __init__(self, d, eps):
        super().__init__()
        self.weight = nn.Parameter(torch.ones(d))
        self.eps = eps

    def forward(self, x):
        return x * torch.rsqrt(x.pow(2).mean(-1, keepdim=True) + self.eps) * self.weight


def linear(n_in, n_out):
    return nn.Linear(n_in, n_out, bias=False)


def rotate(x, cos, sin):
    """Rotary positions, the halves of a head being the pairs (Hugging Face's order)."""
    half = x.shape[-1] // 2
    turned = torch.cat((-x[..., half:], x[..., :half]), -1)
    return x * cos + turned * sin


class LlamaLayer(nn.Module):
    def __init__(self, c):
        super().__init__()
        d, ff = c["hidden_size"], c["intermediate_size"]
        self.heads, self.kv_heads = c["num_attention_heads"], c["num_key_value_heads"]
        head = d // self.heads
        self.input_layernorm = RMSNorm(d, c["rms_norm_eps"])
        self.self_attn = nn.ModuleDict({"q_proj": linear(d, d),
                                        "k_proj": linear(d, self.kv_heads * head),
                                        "v_proj": linear(d, self.kv_heads * head),
                                        "o_proj": linear(d, d)})
        self.post_attention_layernorm = RMSNorm(d, c["rms_norm_eps"])
        self.mlp = nn.ModuleDict({"gate_proj": linear(d, ff), "up_proj": linear(d, ff),
                                  "down_proj": linear(ff, d)})

    def forward(self, x, cos, sin):
        b, t, d = x.shape
        a = self.input_layernorm(x)
        q = self.self_attn["q_proj"](a).view(b, t, self.heads, -1).transpose(1, 2)
        k = self.self_attn["k_proj"](a).view(b, t, self.kv_heads, -1).transpose(1, 2)
        v = self.self_attn["v_proj"](a).view(b, t, self.kv_heads, -1).transpose(1, 2)
        group = self.heads // self.kv_heads
        k = rotate(k, cos, sin).repeat_interleave(group, 1)
        v = v.repeat_interleave(group, 1)
        o = attend(rotate(q, cos, sin), k, v).transpose(1, 2).reshape(b, t, d)
        x = x + self.self_attn["o_proj"](o)
        m = self.post_attention_layernorm(x)
        return x + self.mlp["down_proj"](F.silu(self.mlp["gate_proj"](m)) * self.mlp["up_proj"](m))


class Llama(nn.Module):
    def __init__(self, c):
        super().__init__()
        self.config = c
        self.model = nn.ModuleDict({
            "embed_tokens": nn.Embedding(c["vocab_size"], c["hidden_size"]),
            "layers": nn.ModuleList([LlamaLayer(c) for _ in range(c["num_hidden_layers"])]),
            "norm": RMSNorm(c["hidden_size"], c["rms_norm_eps"])})
        self.lm_head = linear(c["hidden_size"], c["vocab_size"])

    def hidden(self, ids):
        c = self.config
        head = c["hidden_size"] // c["num_attention_heads"]
        frequency = c["rope_theta"] ** (-torch.arange(0, head, 2).float() / head)
        angle = torch.arange(ids.shape[1]).float()[:, None] * frequency
        angle = torch.cat((angle, angle), 1)
        cos, sin = angle.cos(), angle.sin()
        x = self.model["embed_tokens"](ids)
        for layer in self.model["layers"]:
            x = layer(x, cos, sin)
        return self.model["norm"](x)

    def unembedding(self):
        return self.lm_head.weight


def gpt2_config(vocabulary, special):
    return {
        "activation_function": "gelu_new", "architectures": ["GPT2LMHeadModel"],
        "attn_pdrop": 0.0, "bos_token_id": special, "embd_pdrop": 0.0, "eos_token_id": special,
        "initializer_range": 0.02, "layer_norm_epsilon": 1e-05, "model_type": "gpt2",
        "n_ctx": 256, "n_embd": 128, "n_head": 4, "n_inner": None, "n_layer": 4,
        "n_positions": 256, "resid_pdrop": 0.0, "scale_attn_weights": True,
        "tie_word_embeddings": True, "torch_dtype": "float16", "use_cache": True,
        "vocab_size": vocabulary,
    }


def llama_config(vocabulary, special):
    return {
        "architectures": ["LlamaForCausalLM"], "attention_bias": False, "attention_dropout": 0.0,
        "bos_token_id": special, "eos_token_id": special, "hidden_act": "silu",
        "hidden_size": 128, "initializer_range": 0.02, "intermediate_size": 256,
        "max_position_embeddings": 256, "mlp_bias": False, "model_type": "llama",
        "num_attention_heads": 4, "num_hidden_layers": 4, "num_key_value_heads": 2,
        "pretraining_tp": 1, "rms_norm_eps": 1e-05, "rope_scaling": None, "rope_theta": 10000.0,
        "tie_word_embeddings": False, "torch_dtype": "float16", "use_cache": True,
        "vocab_size": vocabulary,
    }


EMBEDDINGS = ("wte.weight", "wpe.weight", "embed_tokens.weight")
WRITERS = ("c_proj.weight", "o_proj.weight", "down_proj.weight")  # to the residual stream


@torch.no_grad()
def initialize(model, layers, embedding_std, matrix_std):
    """Normal weights, the writers to the residual stream divided by sqrt(2 layers).

    matrix_std None: 1 / sqrt(inputs). Biases are 0 and norms 1; lm_head has initializer_range.
    """
    for name, p in model.named_parameters():
        if name.endswith(EMBEDDINGS):
            p.normal_(std=embedding_std)
        elif name == "lm_head.weight":
            p.normal_(std=model.config["initializer_range"])
        elif p.dim() == 2:
            inputs = p.shape[0 if model.config["model_type"] == "gpt2" else 1]
            std = matrix_std or 1 / math.sqrt(inputs)
            p.normal_(std=std / math.sqrt(2 * layers) if name.endswith(WRITERS) else std)


def build(config, embedding_std=0.02, matrix_std=None):
    model = {"gpt2": GPT2, "llama": Llama}[config["model_type"]](config)
    layers = config["n_layer" if config["model_type"] == "gpt2" else "num_hidden_layers"]
    initialize(model, layers, embedding_std, matrix_std)
    return model
