"""The same ONNX file under MLServer: texts in, probabilities out. Runs in MLServer's own environment.

MLServer's adaptive batching joins waiting requests along their first dimension; the rows of a joined batch are
padded to the longest of them, as its own examples with tokenizers do.
"""

import os

import numpy as np
import onnxruntime
from mlserver import MLModel
from mlserver.codecs import NumpyCodec, StringCodec
from mlserver.types import InferenceRequest, InferenceResponse
from tokenizers import Tokenizer

os.environ["TOKENIZERS_PARALLELISM"] = "false"


class OnnxText(MLModel):
    """`parameters.uri` is the artifact's folder, `parameters.extra.max_tokens` where texts are cut."""

    async def load(self) -> bool:
        folder, extra = self.settings.parameters.uri, self.settings.parameters.extra
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = options.inter_op_num_threads = 1
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        self._session = onnxruntime.InferenceSession(
            f"{folder}/model.onnx", options, providers=["CPUExecutionProvider"]
        )
        self._tokenizer = Tokenizer.from_file(f"{folder}/tokenizer.json")
        self._tokenizer.enable_truncation(extra["max_tokens"])
        self._tokenizer.enable_padding()
        return True

    async def predict(self, payload: InferenceRequest) -> InferenceResponse:
        encodings = self._tokenizer.encode_batch(StringCodec.decode_input(payload.inputs[0]))
        inputs = {
            "input_ids": np.array([one.ids for one in encodings], dtype=np.int64),
            "attention_mask": np.array([one.attention_mask for one in encodings], dtype=np.int64),
        }
        (probabilities,) = self._session.run(["probs"], inputs)
        return InferenceResponse(
            model_name=self.name, outputs=[NumpyCodec.encode_output("probs", probabilities)]
        )
