def class_members(path):
    raise NotImplementedError
