"""Random networks: Keras computes what torch does, whatever the spec says."""

from __future__ import annotations

from typing import Any

from hypothesis import HealthCheck, given, settings

import archc
from tests.backends.keras.peer import counts, errors, pair
from tests.backends.torch.random_specs import specs
from tests.backends.torch.test_properties import lowered


@settings(max_examples=25, deadline=None, suppress_health_check=list(HealthCheck))
@given(spec=specs())
def test_random_networks_agree(spec: dict[str, Any]) -> None:
    graph = lowered(spec)
    module, model = pair(graph)
    assert max(errors(module, model, graph.input.shape[1:]).values()) < 1e-4
    assert counts(model.trainable_weights) == archc.report(graph).params
