"""A run as a Keras model with its trained weights."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from imgreg.api.classifier import checked_card, recorded_weights
from imgreg.api.verify import recorded_settings
from imgreg.heads.keras_model import photos_to_probabilities
from imgreg.heads.network import network_of
from imgreg.heads.store import load_head
from imgreg.runs.folder import read_run


def to_keras(folder: Path) -> Any:
    """Build the Keras model of a run: photos in, predict's probabilities out.

    The model consists of Keras' own layers: `model.save("run.keras")` writes it, and `keras.saving.load_model` reads it
    back without imgreg. A cross-validated run's model averages its heads, over the photo and its mirror image if the
    run predicts so; fine-tuned blocks are in it, and the calibration's temperature is applied.

    Parameters
    ----------
    folder : Path
        A run's folder, e.g. models/first-try.

    Returns
    -------
    keras.Model
        (n, image_size, image_size, 3) RGB, 0..255, uint8 or float32 -> (n, n_classes) float32 probabilities, in the
        order of the run's classes. VGG16 computes in float32: where the run's features were computed in bfloat16,
        probabilities differ from predict's in the third digit, in int8 in the second.

    Raises
    ------
    ArtefactError
        If the run cannot be read, or VGG16's weights are not those that it was trained on.

    Examples
    --------
    ::

        model = to_keras(Path("models/first-try"))
        photo = imgreg.data.decode.decode_file(Path("photo.jpg"), size_px=model.input_shape[1])
        model.predict(photo[None])
    """
    card, saved = checked_card(folder), load_head(folder)
    settings = recorded_settings(read_run(folder))
    return photos_to_probabilities(
        network_of(saved, recorded_weights(card, run=folder)),
        head=settings.recipe.head,
        size_px=card.image_size,
        stored=card.stored,
        mirror=card.mirror,
        temperature=saved.temperature,
    )
