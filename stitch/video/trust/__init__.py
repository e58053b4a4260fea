"""What a result says about itself: signed credentials, a watermark in the pixels, a sentence to publish with it."""
