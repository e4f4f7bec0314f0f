"""Average precision of detections, as ImageNet VID and as COCO define it."""
