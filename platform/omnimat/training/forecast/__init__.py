"""What a pretraining run will take, predicted from rates that were measured."""
