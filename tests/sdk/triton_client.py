"""`tritonclient` as anybody would use it. Arguments: host:port, token, model. Prints what it got as JSON."""

import json
import sys

import numpy as np
from tritonclient.http import InferenceServerClient, InferInput, InferRequestedOutput
from tritonclient.utils import InferenceServerException

address, token, model = sys.argv[1:]
headers = {"Authorization": f"Bearer {token}"}
texts = np.array(["a green window", "good morning to all"], dtype=object)

with InferenceServerClient(address) as client:
    text = InferInput("text", list(texts.shape), "BYTES")
    text.set_data_from_numpy(texts, binary_data=False)
    outputs = [InferRequestedOutput(name, binary_data=False) for name in ("scores", "tagged")]
    answer = client.infer(model, [text], outputs=outputs, request_id="7", headers=headers)
    try:
        client.infer("other", [text], outputs=outputs, headers=headers)
        refused = None
    except InferenceServerException as error:
        refused = error.status()
    found = {
        "live": client.is_server_live(),
        "ready": client.is_server_ready(),
        "model_ready": client.is_model_ready(model, headers=headers),
        "server": client.get_server_metadata(headers=headers),
        "metadata": client.get_model_metadata(model, headers=headers),
        "id": answer.get_response()["id"],
        "scores": answer.as_numpy("scores").tolist(),
        "tagged": answer.as_numpy("tagged").tolist(),
        "refused": refused,
    }
print(json.dumps(found))
