"""An MLServer runtime: the review and the row are tensors of the V2 protocol, which the codec of numpy reads."""

import numpy as np
from bench.peers.boosters import Boosters
from mlserver import MLModel
from mlserver.codecs import NumpyCodec
from mlserver.types import InferenceRequest, InferenceResponse


class Scorer(MLModel):
    async def load(self) -> bool:
        self._boosters = Boosters()
        return True

    async def predict(self, payload: InferenceRequest) -> InferenceResponse:
        given = payload.inputs[0]
        score = self._boosters.review if given.name == "review" else self._boosters.rows
        scores = score(NumpyCodec.decode_input(given))
        output = NumpyCodec.encode_output("predictions", np.array(scores, np.float32))
        return InferenceResponse(model_name=self.name, outputs=[output])
