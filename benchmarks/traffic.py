"""What is sent and what the teacher answers: the same text, as a classification and as a chat completion.

Both replies have the same size, so that neither kind of gateway has less to carry.
"""

from dataclasses import dataclass

import orjson

REPLY_BYTES = 320
TEXT = "the dogs in the park were louder than all the birds together"
CLASSES = ("cats", "dogs", "birds")


@dataclass(frozen=True, slots=True)
class Traffic:
    """One request and the only right answer to it."""

    path: str
    body: bytes
    reply: bytes

    def request(self, port: int) -> bytes:
        """The request as it stands on the wire, over a connection that is kept."""
        head = (
            f"POST {self.path} HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nContent-Type: application/json\r\n"
            f"Content-Length: {len(self.body)}\r\n\r\n"
        )
        return head.encode() + self.body


def _padded(document: object) -> bytes:
    """JSON of REPLY_BYTES: spaces stand before its last bracket."""
    text = orjson.dumps(document)
    return text[:-1] + b" " * (REPLY_BYTES - len(text)) + text[-1:]


CLASSIFICATION = Traffic(
    "/topics",
    orjson.dumps({"inputs": TEXT}),
    _padded(
        [[{"label": name, "score": score} for name, score in zip(CLASSES, (0.04, 0.95, 0.01), strict=True)]]
    ),
)
CHAT = Traffic(
    "/v1/chat/completions",
    orjson.dumps({"model": "teacher", "messages": [{"role": "user", "content": TEXT}]}),
    _padded(
        {
            "id": "chatcmpl-1",
            "object": "chat.completion",
            "created": 1_700_000_000,
            "model": "teacher",
            "choices": [
                {
                    "index": 0,
                    "message": {"role": "assistant", "content": "dogs"},
                    "logprobs": None,
                    "finish_reason": "stop",
                }
            ],
            "usage": {"prompt_tokens": 20, "completion_tokens": 1, "total_tokens": 21},
        }
    ),
)
TRAFFIC = {"classification": CLASSIFICATION, "chat": CHAT}
