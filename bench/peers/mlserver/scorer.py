"""An MLServer runtime: the review is one string of the V2 protocol, the row a tensor."""

import numpy as np
from bench.peers.boosters import Boosters
from mlserver import MLModel
from mlserver.codecs import NumpyCodec, StringCodec
from mlserver.types import InferenceRequest, InferenceResponse


class Scorer(MLModel):
    async def load(self) -> bool:
        self._boosters = Boosters()
        return True

    async def predict(self, payload: InferenceRequest) -> InferenceResponse:
        given = payload.inputs[0]
        if given.name == "review":
            scores = self._boosters.review(StringCodec.decode_input(given)[0].encode())
        else:
            scores = self._boosters.rows(NumpyCodec.decode_input(given))
        output = NumpyCodec.encode_output("predictions", np.array(scores, np.float32))
        return InferenceResponse(model_name=self.name, outputs=[output])
