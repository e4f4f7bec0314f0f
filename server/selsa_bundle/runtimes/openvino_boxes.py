"""Keep what boxes pass through exact where OpenVINO computes in bfloat16.

bfloat16 knows every second pixel only from 256 on, and every fourth from 512 on. OpenVINO keeps in fp32 what
comes after the last convolution or matrix product before an output, so the boxes that an engine gives are
exact; but their way into RoIAlign, which is no output, was rounded: features of boxes up to two pixels off.
So what of them goes into RoIAlign, or into the products that RoIAlign is made of, becomes an output, too. On
the packaged model that takes queries and memory from 2 % off to 0.7 % off, for the time of copying a few
kilobytes.
"""

from typing import Final

import openvino as ov

POOLING: Final = ("ROIAlign", "MatMul")


def keep_boxes_exact(model: ov.Model) -> None:
    """Make outputs, after those that there are, of what pooling takes that comes from the output `boxes`."""
    found: dict[tuple[str, int], None] = {}
    seen: set[str] = set()
    todo = [result.input(0).get_source_output() for result in model.get_results()]
    todo = [output for output in todo if "boxes" in output.get_names()]
    while todo:
        output = todo.pop()
        for target in output.get_target_inputs():
            node = target.get_node()
            name = node.get_friendly_name()
            if node.get_type_name() in POOLING:
                found[output.get_node().get_friendly_name(), output.get_index()] = None
            elif name not in seen:
                seen.add(name)
                todo += node.outputs()
    if found:
        model.add_outputs(list(found))
