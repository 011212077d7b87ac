"""The machines: whether they are fit to work, what they show, what they cost, and their accounts on AWS."""
