"""What every kind of student is: an embedding of the whole text, and a head that answers from it alone."""

from torch import Tensor, nn


class PooledStudent(nn.Module):
    """Token ids and mask [batch, seq] in, logits [batch, classes] out."""

    head: nn.Module

    def forward(self, input_ids: Tensor, attention_mask: Tensor) -> Tensor:
        """The head's answer to the text's embedding."""
        logits: Tensor = self.head(self.pooled(input_ids, attention_mask))
        return logits

    def pooled(self, input_ids: Tensor, attention_mask: Tensor) -> Tensor:
        """The text's embedding [batch, width]."""
        raise NotImplementedError
