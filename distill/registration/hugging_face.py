"""A student as a folder in the layout of Hugging Face: AutoTokenizer and ONNX Runtime load it without Stillgate.

The graph reads input_ids and attention_mask and gives logits and calibrated probs; it is no architecture of
transformers, so there is no weight file for AutoModel: `onnx/model.onnx` is what runs.
"""

import shutil
from pathlib import Path
from typing import Any

import orjson

from distill.registration.files import CARD, LICENCE
from ledger.artifacts import MODEL_FILE, TOKENIZER_FILE, Manifest


def write_hugging_face(artifact: Path, manifest: Manifest, target: Path) -> None:
    """Into a folder that does not exist yet, of an artifact that was verified. Raises OSError."""
    (target / "onnx").mkdir(parents=True)
    shutil.copyfile(artifact / MODEL_FILE, target / "onnx" / MODEL_FILE)
    shutil.copyfile(artifact / TOKENIZER_FILE, target / TOKENIZER_FILE)
    for source, name in ((CARD, "README.md"), (LICENCE, LICENCE)):
        if (artifact / source).is_file():
            shutil.copyfile(artifact / source, target / name)
    _write(target / "config.json", config_of(manifest))
    _write(target / "tokenizer_config.json", tokenizer_config_of(artifact, manifest))


def config_of(manifest: Manifest) -> dict[str, Any]:
    """What other tools read: the classes, and which task it is."""
    names = dict(enumerate(manifest.classes))
    return {
        "id2label": {str(place): name for place, name in names.items()},
        "label2id": {name: place for place, name in names.items()},
        "num_labels": len(names),
        "problem_type": "single_label_classification",
        "max_position_embeddings": manifest.max_tokens,
        "stillgate": {
            "task": manifest.task,
            "kind": manifest.kind,
            "temperature": manifest.temperature,
            "teacher_version": manifest.lineage.teacher_epoch,
            "gate_lock": manifest.gate.lock_digest,
            "inputs": ["input_ids", "attention_mask"],
            "outputs": ["logits", "probs"],
        },
    }


def tokenizer_config_of(artifact: Path, manifest: Manifest) -> dict[str, Any]:
    """The fast tokenizer of the file, with the special tokens that it names under their usual roles."""
    added = orjson.loads((artifact / TOKENIZER_FILE).read_bytes()).get("added_tokens") or []
    known = {token["content"] for token in added}
    roles = {
        "pad_token": "[PAD]", "unk_token": "[UNK]", "cls_token": "[CLS]", "sep_token": "[SEP]", "mask_token": "[MASK]"
    }  # fmt: skip
    special = {role: content for role, content in roles.items() if content in known}
    return {
        "tokenizer_class": "PreTrainedTokenizerFast",
        "model_max_length": manifest.max_tokens,
        "padding_side": "right",
        "truncation_side": "right",
        "model_input_names": ["input_ids", "attention_mask"],
        **special,
    }


def _write(path: Path, document: object) -> None:
    path.write_bytes(orjson.dumps(document, option=orjson.OPT_INDENT_2))
