"""The everyday model: SELSA over a frozen COCO detector (NanoDet-g), for ordinary videos."""
