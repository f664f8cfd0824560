"""What parts of an ONNX graph are put together with: nodes, their names and their constants.

Products with small matrices are written as sums of columns, with operators that work element by element: ``MatMul`` and
``ReduceSum`` add a lone text in another order than one of many, and its last bits differ. Widths are multiples of 8, so
that no element of ``Sigmoid`` and ``Tanh`` falls into the remainder of a vector, which is computed otherwise.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray
from onnx import helper


class GraphNodes:
    """Nodes and constants of one part of a graph; vectors are padded with zeros to ``lanes``.

    Args:
        lanes: width of what is kept per label, a multiple of 8.
        prefix: of the names of outputs and constants, another for each part.
    """

    def __init__(self, lanes: int, prefix: str) -> None:
        self.nodes: list[Any] = []
        self.constants: dict[str, NDArray[Any]] = {}
        self.lanes = lanes
        self._prefix = prefix

    def add(self, operator: str, *inputs: str, out: str | None = None, **attributes: Any) -> str:
        """A node; returns the name of its output."""
        name = out or f"{self._prefix}_{len(self.nodes)}"
        self.nodes.append(helper.make_node(operator, list(inputs), [name], **attributes))
        return name

    def vector(self, values: NDArray[Any]) -> str:
        """A constant per label."""
        wide = np.zeros(self.lanes, dtype=np.float32)
        wide[: len(values)] = values
        return self.constant(wide)

    def constant(self, array: NDArray[Any]) -> str:
        """Any other constant."""
        name = f"{self._prefix}_constant_{len(self.constants)}"
        self.constants[name] = array
        return name

    def column(self, rows: str, j: int) -> str:
        """Column j of ``rows``, [n, 1]."""
        return self.add("Gather", rows, self.constant(np.array([j], dtype=np.int64)), axis=1)

    def product(self, rows: str, matrix: NDArray[Any]) -> str:
        """``rows`` [n, a or more] times ``matrix`` [a, b], [n, b] with b padded to a multiple of 8."""
        wide = np.zeros((matrix.shape[0], -(-matrix.shape[1] // 8) * 8), dtype=np.float32)
        wide[:, : matrix.shape[1]] = matrix
        total: str | None = None
        for j, line in enumerate(wide):
            part = self.add("Mul", self.column(rows, j), self.constant(line))
            total = part if total is None else self.add("Add", total, part)
        assert total is not None
        return total
