"""Instruments that look inside the layers of a trained network and leave it as it was.

| question | instrument |
|---|---|
| where does a pixel look? | `record`, `map_at` |
| how far, how sharply? | `attention_statistics` (`attention_distance`, `attention_entropy`) |
| does it matter who asks? | `query_dependence` |
| how much of the output is attention? | `branch_energies` |
| would the samples miss it? | `force_alpha`, `swap_branches`, `refitted`, `interventions` |
| how far does a unit reach? | `effective_receptive_field`, `theoretical_receptive_field` |
| are the weights bounded? | `spectral_norms` |
| all of a network's layers at a log step | `summary` |

Layers are named by their label ("full 8x8", "self 16x16"), by their module's name where they have
none. The network may be in any mode, on any device, a generator or a discriminator.
"""

from fagan.interpret.branches import (
    BranchEnergies,
    branch_energies,
    spectral_norms,
    summary,
)
from fagan.interpret.fields import (
    effective_receptive_field,
    field_share,
    field_size,
    stages,
    theoretical_receptive_field,
)
from fagan.interpret.interventions import (
    force_alpha,
    interventions,
    refitted,
    swap_branches,
)
from fagan.interpret.maps import (
    AttentionStatistics,
    attention_distance,
    attention_entropy,
    attention_statistics,
    map_at,
    query_dependence,
)
from fagan.interpret.recording import (
    Recorded,
    gated_layers,
    record,
)
