"""Freezing of the first layers, batch statistics included."""

from reidlib.models.embedder import Embedder


def freeze_first_layers(model: Embedder) -> Embedder:
    """Freeze what the thesis calls the first 10 layers (section 3.3.1) and return the model.

    Counted in Keras's layer list. MILDNet: everything before the third pooling, seven convolutions and 1,735,488
    weights at VGG16's size. ResNet-50: conv1, bn1 and the first 1x1 convolution of stage 2 with its batch norm, 13,760
    weights. The small models freeze the same places. Their weights get no gradient and their batch norms use, and keep,
    the running statistics they have: `model.train()` leaves them in eval mode.
    """
    model.first_layers_frozen = True
    for module in model.first_layers():
        module.requires_grad_(False)
        for parameter in module.parameters():
            parameter.grad = None
    return model.train(model.training)


def parameter_counts(model: Embedder) -> dict[str, int]:
    """Number of parameters: "total", "trainable" and "frozen" (running statistics are not parameters)."""
    total = sum(parameter.numel() for parameter in model.parameters())
    trainable = sum(parameter.numel() for parameter in model.parameters() if parameter.requires_grad)
    return {"total": total, "trainable": trainable, "frozen": total - trainable}
